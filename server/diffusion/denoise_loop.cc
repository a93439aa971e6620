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

uint32_t DenoiseRun::ScheduleSteps(const DenoiseOptions& options) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(options.end_step - options.start_step, 1, kScheduleSteps));
}

uint32_t DenoiseRun::Rows(uint32_t batch, const DenoiseOptions& options) {
  return options.guidance.on() ? 2 * batch : batch;
}

uint64_t DenoiseRun::StateBytes(uint32_t batch, uint64_t row_elements,
                                const DenoiseOptions& options, const Scheduler& scheduler) {
  const uint64_t tensors = scheduler.NeedsNoise(options.start_step, options.step) ? 5 : 4;
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
  const Plan& plan = blocks->plan();
  const PlanInput* input = plan.FindInput(kSample);
  if (input == nullptr || input->shape != plan.output_shape) {
    return Unimplemented(Format(
        "denoising needs a UNet whose output has its sample's shape; got sample {}, output {}",
        input ? ShapeText(input->shape) : "none", ShapeText(plan.output_shape)));
  }
  auto run = std::unique_ptr<DenoiseRun>(new DenoiseRun());
  ASSIGN_OR_RETURN(run->row_elements_, CheckedElements(plan.output_shape));
  run->batch_ = options.guidance.on() ? blocks->rows() / 2 : blocks->rows();
  const uint64_t elements = run->batch_ * run->row_elements_;
  const bool noisy = scheduler->NeedsNoise(options.start_step, options.step);
  const bool draws = source.latents.empty() || (noisy && source.noise.empty());
  const uint64_t noise_elements =
      elements * static_cast<uint64_t>(options.end_step - options.start_step);
  if (blocks->rows() != Rows(run->batch_, options) || blocks->steps() < ScheduleSteps(options) ||
      (!source.latents.empty() && source.latents.size() != elements) ||
      (!source.noise.empty() && source.noise.size() != noise_elements) ||
      (draws && source.seeds.size() != run->batch_)) {
    return InvalidArgument(
        "the denoising loop's latents, noise, seeds and rows do not fit together");
  }

  run->sample_ = std::move(source.latents);
  if (run->sample_.empty()) {
    run->sample_.resize(elements);
    const auto sigma = static_cast<float>(scheduler->init_noise_sigma());
    for (uint32_t row = 0; row < run->batch_; ++row) {
      const std::span<float> values(run->sample_.data() + row * run->row_elements_,
                                    run->row_elements_);
      FillNormal(source.seeds[row], kLatentStream, values);
      for (float& value : values) value *= sigma;
    }
  }
  run->output_.resize(elements);
  run->next_ = options.start_step;
  run->rows_.resize(blocks->rows());
  run->blocks_ = std::move(blocks);
  run->scheduler_ = std::move(scheduler);
  run->options_ = options;
  run->source_ = std::move(source);
  return run;
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
    view.shape = input.shape;
    view.data = sample + (row % batch_) * row_elements_;
    view.bytes = row_elements_ * sizeof(float);
    RETURN_IF_ERROR(Convert(view, input.dtype, blocks_->Input(input, row)));
  }
  return OkStatus();
}

const float* DenoiseRun::StepNoise() {
  if (!scheduler_->NeedsNoise(next_, options_.step)) return nullptr;
  const uint64_t elements = batch_ * row_elements_;
  if (!source_.noise.empty()) {
    return source_.noise.data() + static_cast<uint64_t>(next_ - options_.start_step) * elements;
  }
  drawn_.resize(elements);
  for (uint32_t row = 0; row < batch_; ++row) {
    FillNormal(source_.seeds[row], StepStream(next_),
               {drawn_.data() + row * row_elements_, row_elements_});
  }
  return drawn_.data();
}

Status DenoiseRun::Step(Runner& runner, const CancelFlag* cancel) {
  if (done()) return Internal("a denoising loop was stepped beyond its end");
  const auto slot = static_cast<uint32_t>((next_ - options_.start_step) % blocks_->steps());
  if (slot == 0 && next_ != options_.start_step) RETURN_IF_ERROR(FillSchedule(runner, cancel));
  RETURN_IF_ERROR(StageSample());
  for (uint32_t row = 0; row < blocks_->rows(); ++row) rows_[row] = blocks_->Row(row, slot);
  RETURN_IF_ERROR(runner.Run(blocks_->plan(), Section::kStep, rows_, cancel));

  for (uint32_t row = 0; row < batch_; ++row) {
    float* out = output_.data() + row * row_elements_;
    if (options_.guidance.on()) {
      Guide(blocks_->Output(row), blocks_->Output(batch_ + row), row_elements_, options_.guidance,
            out);
    } else {
      std::memcpy(out, blocks_->Output(row), row_elements_ * sizeof(float));
    }
  }
  pred_original_.resize(sample_.size());
  StepTensors tensors;
  tensors.model_output = output_.data();
  tensors.sample = sample_.data();
  tensors.noise = StepNoise();
  tensors.prev_sample = sample_.data();
  tensors.pred_original_sample = pred_original_.data();
  tensors.rows = batch_;
  tensors.row_elements = row_elements_;
  RETURN_IF_ERROR(scheduler_->Step(next_, options_.step, tensors));
  ++next_;
  return OkStatus();
}

}  // namespace unetd
