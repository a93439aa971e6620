// What a denoising job reads of its request, and what it answers with.
#include <algorithm>
#include <utility>

#include "server/serving/denoise_job.h"
#include "server/serving/stage_inputs.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

using NamedTensors = std::vector<NamedTensor>;

Status ReadFloats(const std::optional<TensorView>& view, std::vector<float>& values) {
  if (!view) return OkStatus();
  values.resize(view->elements());
  return Convert(*view, DType::kFloat32, values.data());
}

uint64_t FloatBytes(const std::optional<TensorView>& view) {
  return view ? view->elements() * sizeof(float) : 0;
}

// Lets go of what this part of the loop does not read.
void DropUnread(const CheckedDenoise& checked, DenoiseRequest& request) {
  const DenoiseOptions& options = checked.options;
  if (!options.NeedsNoise(*checked.scheduler)) request.noise.reset();
  if (!options.keeps_picture && !options.from_image) request.image_latents.reset();
}

// What DenoiseRun::StateBytes leaves out.
uint64_t SourceBytes(const CheckedDenoise& checked, const DenoiseRequest& request,
                     uint64_t row_elements) {
  uint64_t bytes = FloatBytes(request.noise) + FloatBytes(request.image_latents);
  if (checked.options.keeps_picture) bytes += FloatBytes(request.mask);
  // The answer's copy of the scheduler's state.
  if (checked.state_owner) bytes += checked.scheduler->StepBytes(checked.batch, row_elements);
  return bytes;
}

// The pictures that the UNet is shown, behind the latents' channels of its sample; `first`: the row
// of the UNet that is the request's first.
Status StagePictures(RequestBlocks& blocks, const CheckedDenoise& checked,
                     const DenoiseRequest& request, bool negative, uint32_t first) {
  const uint32_t channels = checked.options.channels;
  if (request.concat_latents) {
    const auto& tensor = negative && request.negative_concat_latents
                             ? request.negative_concat_latents
                             : request.concat_latents;
    return StageChannels(blocks, *tensor, channels, first);
  }
  if (!request.masked_image_latents) return OkStatus();
  RETURN_IF_ERROR(StageChannels(blocks, *request.mask, channels, first));
  return StageChannels(blocks, *request.masked_image_latents, channels + 1, first);
}

// The tensors that change with every step, taken out of `tensors`.
NamedTensors TakeChanging(NamedTensors& tensors) {
  const auto changing = std::stable_partition(
      tensors.begin(), tensors.end(), [](const NamedTensor& t) { return !ChangesWithSteps(t); });
  NamedTensors taken(changing, tensors.end());
  tensors.erase(changing, tensors.end());
  return taken;
}

Status StageStep(RequestBlocks& blocks, const NamedTensors& tensors, int64_t index, uint32_t first,
                 uint32_t rows) {
  NamedTensors now;
  now.reserve(tensors.size());
  for (const NamedTensor& tensor : tensors) now.push_back(AtStep(tensor, index));
  return StageInputs(blocks, now, first, rows);
}

}  // namespace

Status DenoiseJob::DoStage() {
  const AddTime time(result_.timings.input_ns);
  const DenoiseOptions& options = checked_.options;
  const uint32_t batch = checked_.batch, conditional = rows_ - batch;
  const uint32_t steps = DenoiseRun::ScheduleSteps(options);
  RETURN_IF_ERROR(context_.snapshot->domain->CheckFits(*plan_, rows_, steps));
  DropUnread(checked_, request_);
  const Shape& sample = checked_.sample_shape;
  ASSIGN_OR_RETURN(const uint64_t row_elements, CheckedElements({sample[1], sample[2], sample[3]}));
  state_bytes_ = DenoiseRun::StateBytes(batch, row_elements, options, *checked_.scheduler) +
                 SourceBytes(checked_, request_, row_elements);
  ASSIGN_OR_RETURN(hold_,
                   LedgerHold::Take(context_.snapshot->domain->ledger, LedgerAccount::kRequests,
                                    state_bytes_, "a denoising loop"));
  ASSIGN_OR_RETURN(auto blocks, RequestBlocks::Create(plan_, ledger(), rows_, steps));

  DenoiseSource source;
  NamedTensors changing = TakeChanging(request_.conditions);
  NamedTensors changing_negative = TakeChanging(request_.negative_conditions);
  if (conditional != 0) {
    RETURN_IF_ERROR(StageInputs(*blocks, request_.negative_conditions, 0, batch));
    RETURN_IF_ERROR(StagePictures(*blocks, checked_, request_, true, 0));
  }
  RETURN_IF_ERROR(StageInputs(*blocks, request_.conditions, conditional, batch));
  RETURN_IF_ERROR(StagePictures(*blocks, checked_, request_, false, conditional));
  if (!changing.empty()) {
    // Holds on to the message, which has what comes.
    source.stage_step = [batch, conditional, changing = std::move(changing),
                         negative = std::move(changing_negative),
                         message = request_.keepalive](RequestBlocks& to, int64_t index) -> Status {
      if (conditional != 0) RETURN_IF_ERROR(StageStep(to, negative, index, 0, batch));
      return StageStep(to, changing, index, conditional, batch);
    };
  }

  source.seeds = request_.seeds;
  RETURN_IF_ERROR(ReadFloats(request_.latents, source.latents));
  RETURN_IF_ERROR(ReadFloats(request_.image_latents, source.image));
  if (options.keeps_picture) RETURN_IF_ERROR(ReadFloats(request_.mask, source.mask));
  RETURN_IF_ERROR(ReadFloats(request_.start_noise, source.start_noise));
  RETURN_IF_ERROR(ReadFloats(request_.noise, source.noise));
  if (!checked_.state.empty()) {
    ASSIGN_OR_RETURN(source.state, DecodeState(checked_.state));
  }
  ASSIGN_OR_RETURN(run_, DenoiseRun::Create(std::move(blocks), std::move(checked_.scheduler),
                                            options, std::move(source)));
  // Nothing is read of the message any more, but by stage_step.
  const std::string id = std::move(request_.id);
  const int64_t preview_every = request_.preview_every;
  request_ = DenoiseRequest();
  request_.id = id;
  request_.preview_every = preview_every;
  checked_.state.clear();
  return OkStatus();
}

StatusOr<OutputTensor> DenoiseJob::Output(const char* name,
                                          const std::vector<float>& values) const {
  return MakeOutput(name, checked_.dtype, checked_.sample_shape, values.data());
}

Status DenoiseJob::FillResult() {
  ASSIGN_OR_RETURN(result_.sample, Output("sample", run_->sample()));
  ASSIGN_OR_RETURN(result_.pred_original_sample,
                   Output("pred_original_sample", run_->pred_original_sample()));
  if (!checked_.state_owner || run_->next_step() == checked_.state_owner->steps) return OkStatus();
  ASSIGN_OR_RETURN(result_.state,
                   EncodeState(*checked_.state_owner, run_->next_step(), run_->scheduler_state()));
  return OkStatus();
}

}  // namespace unetd
