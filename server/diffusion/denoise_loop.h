// DenoiseRun: one request's denoising loop as a state machine that serving drives a step at a time,
// so that other requests' steps run in between.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/guidance.h"
#include "server/diffusion/scheduler.h"
#include "server/plan/request_blocks.h"
#include "server/plan/runner.h"

namespace unetd {

struct DenoiseOptions {
  int64_t start_step = 0;  // steps [start_step, end_step) of the scheduler's
  int64_t end_step = 0;
  GuidanceOptions guidance;
  StepOptions step;
};

// Where a loop's numbers come from. Rows of float32 [C,H,W].
struct DenoiseSource {
  std::vector<float> latents;   // [B,C,H,W]; empty: drawn from the seeds
  std::vector<uint64_t> seeds;  // one a row; may be empty if nothing is drawn
  std::vector<float>
      noise;  // [end_step - start_step, B,C,H,W]; empty: drawn from the seeds where needed
};

class DenoiseRun {
 public:
  // Schedule blocks that a run holds at once: longer loops fill them again.
  static constexpr int64_t kScheduleSteps = 64;
  // The `steps` that a run's RequestBlocks are to be created with.
  static uint32_t ScheduleSteps(const DenoiseOptions& options);
  // Rows of the UNet: twice the batch under guidance.
  static uint32_t Rows(uint32_t batch, const DenoiseOptions& options);
  // Bytes that a run holds beside its RequestBlocks and DenoiseSource::noise.
  static uint64_t StateBytes(uint32_t batch, uint64_t row_elements, const DenoiseOptions& options,
                             const Scheduler& scheduler);

  // `blocks` has Rows() rows, whose inputs but `sample` are staged: under guidance those without
  // the condition first, then those with it. `scheduler` has its timesteps. INVALID_ARGUMENT if
  // sizes do not fit together.
  static StatusOr<std::unique_ptr<DenoiseRun>> Create(std::unique_ptr<RequestBlocks> blocks,
                                                      std::unique_ptr<Scheduler> scheduler,
                                                      const DenoiseOptions& options,
                                                      DenoiseSource source);

  // The condition section and the first schedule blocks. Once, before the first Step.
  Status Start(Runner& runner, const CancelFlag* cancel);
  // The next step: one forward, guidance, the scheduler.
  Status Step(Runner& runner, const CancelFlag* cancel);

  bool done() const { return next_ == options_.end_step; }
  int64_t next_step() const { return next_; }
  double timestep(int64_t step) const { return scheduler_->timesteps()[step]; }

  // [B,C,H,W]: what the next step starts from; after the last, the result.
  const std::vector<float>& sample() const { return sample_; }
  // What the last step thinks the noiseless sample is; empty before the first.
  const std::vector<float>& pred_original_sample() const { return pred_original_; }
  uint32_t batch() const { return batch_; }
  const RequestBlocks& blocks() const { return *blocks_; }

 private:
  DenoiseRun() = default;
  Status FillSchedule(Runner& runner, const CancelFlag* cancel);
  Status StageSample();
  const float* StepNoise();

  std::unique_ptr<RequestBlocks> blocks_;
  std::unique_ptr<Scheduler> scheduler_;
  DenoiseOptions options_;
  DenoiseSource source_;
  uint32_t batch_ = 0;
  uint64_t row_elements_ = 0;
  int64_t next_ = 0;
  std::vector<float> sample_, output_, pred_original_, drawn_, scaled_;
  std::vector<RowBlocks> rows_;
};

}  // namespace unetd
