#include "server/serving/denoise_job.h"

#include <utility>

#include "server/base/text.h"
#include "server/serving/request_log.h"
#include "server/serving/stage_inputs.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

StatusOr<std::vector<float>> Floats(const TensorView& view) {
  std::vector<float> values(view.elements());
  RETURN_IF_ERROR(Convert(view, DType::kFloat32, values.data()));
  return values;
}

}  // namespace

DenoiseJob::DenoiseJob(JobContext context, CheckedDenoise checked, DenoiseRequest request,
                       std::shared_ptr<DenoiseListener> listener)
    : RequestJob(std::move(context), checked.shape),
      checked_(std::move(checked)),
      rows_(DenoiseRun::Rows(checked_.batch, checked_.options)),
      request_(std::move(request)),
      listener_(std::move(listener)) {}

Status DenoiseJob::DoStage() {
  const AddTime time(result_.timings.input_ns);
  const uint32_t batch = checked_.batch;
  const uint32_t steps = DenoiseRun::ScheduleSteps(checked_.options);
  RETURN_IF_ERROR(context_.snapshot->domain->CheckFits(*plan_, rows_, steps));
  ASSIGN_OR_RETURN(const uint64_t row_elements, CheckedElements(plan_->output_shape));
  state_bytes_ = DenoiseRun::StateBytes(batch, row_elements, checked_.options, *checked_.scheduler);
  if (request_.noise) state_bytes_ += request_.noise->elements() * sizeof(float);
  ASSIGN_OR_RETURN(hold_,
                   LedgerHold::Take(context_.snapshot->domain->ledger, LedgerAccount::kRequests,
                                    state_bytes_, "a denoising loop"));
  ASSIGN_OR_RETURN(auto blocks, RequestBlocks::Create(plan_, ledger(), rows_, steps));
  if (rows_ != batch) {
    RETURN_IF_ERROR(StageInputs(*blocks, request_.negative_conditions, 0, batch));
  }
  RETURN_IF_ERROR(StageInputs(*blocks, request_.conditions, rows_ - batch, batch));

  DenoiseSource source;
  source.seeds = request_.seeds;
  if (request_.latents) {
    ASSIGN_OR_RETURN(source.latents, Floats(*request_.latents));
  }
  if (request_.noise) {
    ASSIGN_OR_RETURN(source.noise, Floats(*request_.noise));
  }
  ASSIGN_OR_RETURN(run_, DenoiseRun::Create(std::move(blocks), std::move(checked_.scheduler),
                                            checked_.options, std::move(source)));
  request_.conditions.clear();
  request_.negative_conditions.clear();
  request_.latents.reset();
  request_.noise.reset();
  request_.keepalive.reset();
  return OkStatus();
}

StatusOr<Job::Progress> DenoiseJob::DoRun(const CancelFlag& cancel) {
  if (!started_) {
    RETURN_IF_ERROR(Start(cancel));
    return Progress::kMore;
  }
  RETURN_IF_ERROR(Step(cancel));
  if (!run_->done()) return Progress::kMore;
  const AddTime time(result_.timings.output_ns);
  ASSIGN_OR_RETURN(result_.sample, Output("sample", run_->sample()));
  ASSIGN_OR_RETURN(result_.pred_original_sample,
                   Output("pred_original_sample", run_->pred_original_sample()));
  return Progress::kDone;
}

Status DenoiseJob::Start(const CancelFlag& cancel) {
  started_ = true;
  DenoiseAccepted accepted;
  accepted.variant = context_.snapshot->variant;
  accepted.plan_bytes = plan_->ArenaBytes(rows_, runner().threads()) +
                        plan_->BlockBytes(rows_, run_->blocks().steps()) + state_bytes_;
  accepted.start_step = checked_.options.start_step;
  accepted.end_step = checked_.options.end_step;
  listener_->OnAccepted(accepted);
  const AddTime time(result_.timings.compute_ns);
  return run_->Start(runner(), &cancel);
}

Status DenoiseJob::Step(const CancelFlag& cancel) {
  DenoiseProgress progress;
  progress.step = run_->next_step();
  progress.total = checked_.options.end_step - checked_.options.start_step;
  progress.timestep = run_->timestep(progress.step);
  uint64_t ns = 0;
  {
    const AddTime time(ns);
    RETURN_IF_ERROR(run_->Step(runner(), &cancel));
  }
  ++result_.steps;
  result_.timings.compute_ns += ns;
  const Snapshot& snapshot = *context_.snapshot;
  context_.statistics->AddDenoiseStep(snapshot.model, snapshot.variant, ns);
  progress.ms = static_cast<double>(ns) * 1e-6;
  listener_->OnProgress(progress);
  if (request_.preview_every > 0 && result_.steps % request_.preview_every == 0) {
    const AddTime time(result_.timings.output_ns);
    ASSIGN_OR_RETURN(OutputTensor preview,
                     Output("pred_original_sample", run_->pred_original_sample()));
    listener_->OnPreview(progress.step, std::move(preview));
  }
  return OkStatus();
}

StatusOr<OutputTensor> DenoiseJob::Output(const char* name,
                                          const std::vector<float>& values) const {
  return MakeOutput(name, checked_.dtype, checked_.sample_shape, values.data());
}

void DenoiseJob::Finish(const Status& status, const JobTimes& times) {
  run_.reset();
  hold_ = LedgerHold();
  const Snapshot& snapshot = *context_.snapshot;
  const RequestLine line{"denoise",
                         request_.id,
                         snapshot.model,
                         snapshot.variant,
                         Format("{}x {}", checked_.batch, shape_.Key()),
                         result_.steps};
  LogRequest(line, status, times);
  const std::shared_ptr<DenoiseListener> listener = std::move(listener_);
  if (!status.ok()) {
    context_.statistics->AddFailure(snapshot.model, snapshot.variant, status.code(),
                                    times.total_ns);
    return listener->OnFinished(status);
  }
  result_.model = snapshot.model;
  result_.variant = snapshot.variant;
  result_.id = request_.id;
  result_.timings.queue_ns = times.queue_ns;
  context_.statistics->AddSuccess({snapshot.model, snapshot.variant, rows_, checked_.batch,
                                   static_cast<uint64_t>(result_.steps), times.total_ns,
                                   result_.timings, true});
  listener->OnFinished(std::move(result_));
}

}  // namespace unetd
