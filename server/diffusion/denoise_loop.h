// DenoiseRun: one request's denoising loop as a state machine that serving drives a step at a time,
// so that other requests' steps run in between.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/guidance.h"
#include "server/diffusion/kept_picture.h"
#include "server/diffusion/scheduler.h"
#include "server/plan/request_blocks.h"
#include "server/plan/runner.h"

namespace unetd {

struct DenoiseOptions {
  int64_t start_step = 0;  // steps [start_step, end_step) of the scheduler's
  int64_t end_step = 0;
  uint32_t channels = 0;  // C, of the latents: the UNet gives as many, or twice as many
  // The scheduler reads a variance from the second half of the UNet's output; else what lies there
  // is left out, as diffusers' pipelines do.
  bool learned_variance = false;
  bool from_image = false;     // without latents: start from the picture, not from noise alone
  bool keeps_picture = false;  // see kept_picture.h
  GuidanceOptions guidance;
  StepOptions step;

  // Does any step of [start_step, end_step) add noise?
  bool NeedsNoise(const Scheduler& scheduler) const;
  // Is noise needed to start, or to keep the picture?
  bool NeedsStartNoise(bool has_latents) const { return !has_latents || keeps_picture; }
};

// Where a loop's numbers come from. Row-major float32.
struct DenoiseSource {
  std::vector<float> latents;      // [B,C,H,W], the sample at start_step; empty: made of the others
  std::vector<float> image;        // [B,C,H,W], clean latents; for from_image and keeps_picture
  std::vector<float> mask;         // [B,1,H,W]; for keeps_picture
  std::vector<float> start_noise;  // [B,C,H,W]; empty: drawn from the seeds where needed
  // [end_step - start_step, B,C,H,W]; empty: drawn from the seeds where needed
  std::vector<float> noise;
  std::vector<uint64_t> seeds;          // one a row; may be empty if nothing is drawn
  std::optional<SchedulerState> state;  // of the scheduler before start_step
  // Stages the inputs that change with every step; `index` counts from start_step. May be empty.
  std::function<Status(RequestBlocks& blocks, int64_t index)> stage_step;
};

class DenoiseRun {
 public:
  // Schedule blocks that a run holds at once: longer loops fill them again.
  static constexpr int64_t kScheduleSteps = 64;
  // The `steps` that a run's RequestBlocks are to be created with.
  static uint32_t ScheduleSteps(const DenoiseOptions& options);
  // Rows of the UNet: twice the batch under guidance.
  static uint32_t Rows(uint32_t batch, const DenoiseOptions& options);
  // Bytes that a run holds beside its RequestBlocks and the source's image, mask and noise.
  static uint64_t StateBytes(uint32_t batch, uint64_t row_elements, const DenoiseOptions& options,
                             const Scheduler& scheduler);

  // `blocks` has Rows() rows, whose inputs are staged but for the first C channels of `sample` and
  // what stage_step stages: under guidance those without the condition first, then those with it.
  // `scheduler` has its timesteps. INVALID_ARGUMENT if sizes do not fit together, or for a state
  // that the scheduler cannot have had.
  static StatusOr<std::unique_ptr<DenoiseRun>> Create(std::unique_ptr<RequestBlocks> blocks,
                                                      std::unique_ptr<Scheduler> scheduler,
                                                      const DenoiseOptions& options,
                                                      DenoiseSource source);

  // The condition section and the first schedule blocks. Once, before the first Step.
  Status Start(Runner& runner, const CancelFlag* cancel);
  // The next step is BeginStep, a run of the plan's step section with step_rows(), and EndStep:
  // apart, so that one forward can serve several requests.
  Status BeginStep(Runner& runner, const CancelFlag* cancel);
  std::span<const RowBlocks> step_rows() const { return rows_; }
  Status EndStep();  // guidance, the scheduler

  bool done() const { return next_ == options_.end_step; }
  int64_t next_step() const { return next_; }
  double timestep(int64_t step) const { return scheduler_->timesteps()[step]; }

  // [B,C,H,W]: what the next step starts from; after the last, the result.
  const std::vector<float>& sample() const { return sample_; }
  // What the last step thinks the noiseless sample is; empty before the first.
  const std::vector<float>& pred_original_sample() const { return pred_original_; }
  const SchedulerState& scheduler_state() const { return scheduler_->state(); }
  uint32_t batch() const { return batch_; }
  const RequestBlocks& blocks() const { return *blocks_; }

 private:
  DenoiseRun() = default;
  Status CheckPlan() const;
  Status CheckSource(const DenoiseSource& source) const;
  void MakeSample(DenoiseSource& source);
  Status FillSchedule(Runner& runner, const CancelFlag* cancel);
  Status StageSample();
  void Draw(uint32_t stream, std::vector<float>& noise) const;
  const float* StepNoise();
  void GuideRows();
  uint64_t elements() const { return batch_ * row_elements_; }

  std::unique_ptr<RequestBlocks> blocks_;
  std::unique_ptr<Scheduler> scheduler_;
  DenoiseOptions options_;
  std::vector<float> noise_;     // of the source
  std::vector<uint64_t> seeds_;  // of the source
  std::function<Status(RequestBlocks&, int64_t)> stage_step_;
  KeptPicture picture_;
  uint32_t batch_ = 0;
  uint64_t row_elements_ = 0;     // C * H * W
  uint64_t output_elements_ = 0;  // of a row, for the scheduler
  int64_t next_ = 0;
  std::vector<float> sample_, output_, pred_original_, drawn_, scaled_, kept_;
  std::vector<RowBlocks> rows_;
};

}  // namespace unetd
