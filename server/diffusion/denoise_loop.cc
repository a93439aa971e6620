#include "server/diffusion/denoise_loop.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/base/text.h"
#include "server/diffusion/noise.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

constexpr char kSample[] = "sample";

}  // namespace

bool DenoiseOptions::NeedsNoise(const Scheduler& scheduler) const {
  for (int64_t i = start_step; i < end_step; ++i) {
    if (scheduler.NeedsNoise(i, step)) return true;
  }
  return false;
}

uint32_t DenoiseRun::ScheduleSteps(const DenoiseOptions& options) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(options.end_step - options.start_step, 1, kScheduleSteps));
}

uint32_t DenoiseRun::Rows(uint32_t batch, const DenoiseOptions& options) {
  return options.guidance.on() ? 2 * batch : batch;
}

uint64_t DenoiseRun::StateBytes(uint32_t batch, uint64_t row_elements,
                                const DenoiseOptions& options, const Scheduler& scheduler) {
  uint64_t tensors = 4;  // sample, output, pred_original, scaled
  if (options.learned_variance) ++tensors;
  if (options.NeedsNoise(scheduler)) ++tensors;
  if (options.keeps_picture) tensors += 2;  // the noise, the scratch
  return tensors * batch * row_elements * sizeof(float) + scheduler.StepBytes(batch, row_elements);
}

StatusOr<std::unique_ptr<DenoiseRun>> DenoiseRun::Create(std::unique_ptr<RequestBlocks> blocks,
                                                         std::unique_ptr<Scheduler> scheduler,
                                                         const DenoiseOptions& options,
                                                         DenoiseSource source) {
  const auto steps = static_cast<int64_t>(scheduler->timesteps().size());
  if (options.start_step < 0 || options.start_step >= options.end_step ||
      options.end_step > steps) {
    return InvalidArgument(Format("steps [{}, {}): expected a part of [0, {})", options.start_step,
                                  options.end_step, steps));
  }
  auto run = std::unique_ptr<DenoiseRun>(new DenoiseRun());
  run->blocks_ = std::move(blocks);
  run->scheduler_ = std::move(scheduler);
  run->options_ = options;
  RETURN_IF_ERROR(run->CheckPlan());
  const Shape& output = run->blocks_->plan().output_shape;
  ASSIGN_OR_RETURN(run->row_elements_, CheckedElements({options.channels, output[1], output[2]}));
  run->output_elements_ = run->row_elements_ * (options.learned_variance ? 2 : 1);
  const uint32_t rows = run->blocks_->rows();
  run->batch_ = options.guidance.on() ? rows / 2 : rows;
  RETURN_IF_ERROR(run->CheckSource(source));

  if (source.state) {
    RETURN_IF_ERROR(
        run->scheduler_->SetState(options.start_step, run->elements(), *std::move(source.state)));
  }
  run->next_ = options.start_step;
  run->seeds_ = std::move(source.seeds);
  run->noise_ = std::move(source.noise);
  run->stage_step_ = std::move(source.stage_step);
  run->MakeSample(source);
  run->output_.resize(run->batch_ * run->output_elements_);
  run->rows_.resize(rows);
  return run;
}

Status DenoiseRun::CheckPlan() const {
  const Plan& plan = blocks_->plan();
  const PlanInput* input = plan.FindInput(kSample);
  const Shape& output = plan.output_shape;
  const int64_t channels = options_.channels;
  const bool fits =
      channels > 0 && input != nullptr && output.size() == 3 && input->shape.size() == 3 &&
      input->shape[0] >= channels && input->shape[1] == output[1] && input->shape[2] == output[2] &&
      (output[0] == 2 * channels || (output[0] == channels && !options_.learned_variance));
  if (fits) return OkStatus();
  return Unimplemented(Format(
      "denoising {} channels{} needs a UNet that takes and gives them; got sample {}, output {}",
      channels, options_.learned_variance ? " with their variance" : "",
      input != nullptr ? ShapeText(input->shape) : "none", ShapeText(output)));
}

Status DenoiseRun::CheckSource(const DenoiseSource& source) const {
  const uint64_t all = elements();
  const auto fits = [](const std::vector<float>& values, uint64_t expected, bool needed) {
    return values.size() == expected || (values.empty() && !needed);
  };
  const bool noisy = options_.NeedsNoise(*scheduler_);
  const bool starts = options_.NeedsStartNoise(!source.latents.empty());
  const bool draws = (noisy && source.noise.empty()) || (starts && source.start_noise.empty());
  const bool reads_image =
      options_.keeps_picture || (source.latents.empty() && options_.from_image);
  const auto steps = static_cast<uint64_t>(options_.end_step - options_.start_step);
  if (blocks_->rows() == Rows(batch_, options_) && blocks_->steps() >= ScheduleSteps(options_) &&
      fits(source.latents, all, false) && fits(source.image, all, reads_image) &&
      fits(source.mask, all / options_.channels, options_.keeps_picture) &&
      fits(source.start_noise, all, false) && fits(source.noise, all * steps, false) &&
      (!draws || source.seeds.size() == batch_)) {
    return OkStatus();
  }
  return InvalidArgument("the denoising loop's latents, noise, seeds and rows do not fit together");
}

// The sample at start_step, and what keeps the picture.
void DenoiseRun::MakeSample(DenoiseSource& source) {
  std::vector<float> noise = std::move(source.start_noise);
  if (noise.empty() && options_.NeedsStartNoise(!source.latents.empty())) {
    Draw(kLatentStream, noise);
  }
  if (!source.latents.empty()) {
    sample_ = std::move(source.latents);
    picture_.noise = std::move(noise);
  } else {
    if (options_.keeps_picture) picture_.noise = noise;
    sample_ = std::move(noise);
    if (options_.from_image) {
      scheduler_->AddNoise(next_, source.image.data(), sample_.data(), elements(), sample_.data());
    } else {
      const auto sigma = static_cast<float>(scheduler_->init_noise_sigma());
      for (float& value : sample_) value *= sigma;
    }
  }
  if (!options_.keeps_picture) return;
  picture_.image = std::move(source.image);
  picture_.mask = std::move(source.mask);
}

Status DenoiseRun::Start(Runner& runner, const CancelFlag* cancel) {
  for (uint32_t row = 0; row < blocks_->rows(); ++row) rows_[row] = blocks_->Row(row);
  RETURN_IF_ERROR(runner.Run(blocks_->plan(), Section::kCondition, rows_, cancel));
  return FillSchedule(runner, cancel);
}

Status DenoiseRun::FillSchedule(Runner& runner, const CancelFlag* cancel) {
  const auto count =
      static_cast<uint32_t>(std::min<int64_t>(options_.end_step - next_, blocks_->steps()));
  std::vector<RowBlocks> all;
  all.reserve(static_cast<size_t>(count) * blocks_->rows());
  for (uint32_t step = 0; step < count; ++step) {
    for (uint32_t row = 0; row < blocks_->rows(); ++row) {
      blocks_->SetTimestep(row, step, static_cast<float>(timestep(next_ + step)));
      all.push_back(blocks_->Row(row, step));
      all.back().group = step;  // the runner may take them in parts
    }
  }
  return runner.Run(blocks_->plan(), Section::kSchedule, all, cancel);
}

// The first C channels of each row's sample; what follows them stays.
Status DenoiseRun::StageSample() {
  const PlanInput& input = *blocks_->plan().FindInput(kSample);
  const auto scale = static_cast<float>(scheduler_->InputScale(next_));
  const float* sample = sample_.data();
  if (scale != 1.0f) {
    scaled_.resize(sample_.size());
    for (size_t i = 0; i < sample_.size(); ++i) scaled_[i] = sample_[i] * scale;
    sample = scaled_.data();
  }
  for (uint32_t row = 0; row < blocks_->rows(); ++row) {
    TensorView view;
    view.shape = {options_.channels, input.shape[1], input.shape[2]};
    view.data = sample + (row % batch_) * row_elements_;
    view.bytes = row_elements_ * sizeof(float);
    RETURN_IF_ERROR(Convert(view, input.dtype, blocks_->Input(input, row)));
  }
  return OkStatus();
}

void DenoiseRun::Draw(uint32_t stream, std::vector<float>& noise) const {
  noise.resize(elements());
  for (uint32_t row = 0; row < batch_; ++row) {
    FillNormal(seeds_[row], stream, {noise.data() + row * row_elements_, row_elements_});
  }
}

const float* DenoiseRun::StepNoise() {
  if (!scheduler_->NeedsNoise(next_, options_.step)) return nullptr;
  if (!noise_.empty()) {
    return noise_.data() + static_cast<uint64_t>(next_ - options_.start_step) * elements();
  }
  Draw(StepStream(next_), drawn_);
  return drawn_.data();
}

Status DenoiseRun::BeginStep(Runner& runner, const CancelFlag* cancel) {
  if (done()) return Internal("a denoising loop was stepped beyond its end");
  const auto slot = static_cast<uint32_t>((next_ - options_.start_step) % blocks_->steps());
  if (slot == 0 && next_ != options_.start_step) RETURN_IF_ERROR(FillSchedule(runner, cancel));
  if (stage_step_) RETURN_IF_ERROR(stage_step_(*blocks_, next_ - options_.start_step));
  RETURN_IF_ERROR(StageSample());
  for (uint32_t row = 0; row < blocks_->rows(); ++row) rows_[row] = blocks_->Row(row, slot);
  return OkStatus();
}

// The UNet's rows to the scheduler's: the variance is that of the rows with the condition.
void DenoiseRun::GuideRows() {
  const bool guided = options_.guidance.on();
  for (uint32_t row = 0; row < batch_; ++row) {
    const float* conditional = blocks_->Output(guided ? batch_ + row : row);
    float* out = output_.data() + row * output_elements_;
    std::memcpy(out, conditional, output_elements_ * sizeof(float));
    if (guided) {
      Guide(blocks_->Output(row), conditional, row_elements_, options_.guidance, out);
    }
  }
}

Status DenoiseRun::EndStep() {
  GuideRows();
  pred_original_.resize(sample_.size());
  StepTensors tensors;
  tensors.model_output = output_.data();
  tensors.sample = sample_.data();
  tensors.noise = StepNoise();
  tensors.prev_sample = sample_.data();
  tensors.pred_original_sample = pred_original_.data();
  tensors.rows = batch_;
  tensors.row_elements = row_elements_;
  tensors.output_elements = output_elements_;
  RETURN_IF_ERROR(scheduler_->Step(next_, options_.step, tensors));
  ++next_;
  if (options_.keeps_picture) PutBack(picture_, *scheduler_, next_, batch_, sample_, kept_);
  return OkStatus();
}

}  // namespace unetd
