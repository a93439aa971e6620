// What callers ask of the server and what they get back: plain structs, no wire format.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/tensor.h"

namespace unetd {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

inline constexpr char kOnlyVersion[] = "1";  // every model has this one version

// Borrows its bytes from the message that it came in; see `keepalive`.
struct NamedTensor {
  std::string name;
  TensorView view;  // bytes already checked against dtype and shape
};

// Owns its bytes: little-endian, row-major, ready to be moved into a message.
struct OutputTensor {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  std::string bytes;
};

// What both kinds of request have in common.
struct RequestHead {
  std::string model;
  std::string version;  // "" or "1"
  std::string id;       // decides the variant if none is pinned; "" draws at random
  std::string variant;  // pins one; "": by weight
  // After this moment the answer is of no use: DEADLINE_EXCEEDED, queued or running.
  std::optional<TimePoint> deadline;
  // The longest it may wait before it starts to run; unset: as long as the deadline allows.
  std::optional<std::chrono::microseconds> queue_timeout;
  uint64_t priority = 0;  // 1 is the highest, larger numbers are lower; 0: the default (turns.h)
  // Held while views of the request are read: until the job starts to run, at the latest until it
  // ends.
  std::shared_ptr<const void> keepalive;
};

// One forward of the UNet.
struct InferRequest : RequestHead {
  std::vector<NamedTensor> inputs;
  std::vector<std::string> outputs;  // empty: all
};

struct Timings {
  uint64_t queue_ns = 0;    // from admission to the first quantum, and between quanta
  uint64_t input_ns = 0;    // casting the inputs
  uint64_t compute_ns = 0;  // the UNet, and the scheduler
  uint64_t output_ns = 0;   // casting the outputs
};

struct InferResult {
  std::string model;
  std::string variant;
  std::string id;
  std::vector<OutputTensor> outputs;  // in the order asked
  Timings timings;
};

using InferCallback = std::function<void(StatusOr<InferResult>)>;

// What the steps of a denoising loop are told: the same for a whole loop and for one step alone.
// The tensors but scheduler's and conditions are floats; B, C, H, W are the latents'.
struct LoopRequest : RequestHead {
  std::string scheduler_json;        // a scheduler config; "": the model's own
  int64_t num_inference_steps = 50;  // the UNet may be called more often: a step is one such call
  // One a row, where noise is to be drawn: what the loop starts from, and what the scheduler adds.
  std::vector<uint64_t> seeds;

  // Inputs of the UNet but sample and timestep. The residuals among them may have one dimension
  // more, [steps run, B, ...]: then they change with every step.
  std::vector<NamedTensor> conditions;
  // The same names and shapes; needed if guidance_scale > 1.
  std::vector<NamedTensor> negative_conditions;
  double guidance_scale = 1;  // guidance is on above 1, as in diffusers
  double guidance_rescale = 0;
  std::optional<double> eta;              // DDIM's and TCD's; unset: the scheduler's own default
  bool use_clipped_model_output = false;  // DDIM's
  std::optional<TensorView> noise;        // what the scheduler adds; unset: drawn from the seeds
  std::optional<TensorView> start_noise;  // [B,C,H,W]; unset: drawn from the seeds

  // Clean latents of a picture: what the loop starts from, and what lies outside of the mask.
  std::optional<TensorView> image_latents;  // [B,C,H,W]
  std::optional<TensorView> mask;           // [B,1,H,W], of any dtype: 1 where to paint
  // For UNets that take more channels than the latents': beside the sample they are shown the mask
  // and masked_image_latents, or concat_latents.
  std::optional<TensorView> masked_image_latents;
  std::optional<TensorView> concat_latents;
  std::optional<TensorView> negative_concat_latents;  // under guidance; unset: concat_latents
};

// A whole denoising loop, or the part [start_step, end_step) of one.
struct DenoiseRequest : LoopRequest {
  int64_t start_step = 0;
  std::optional<int64_t> end_step;  // unset: all steps

  // The sample at start_step: latents [B,C,H,W] (float; the result has their dtype), or made of
  // image_latents, or of noise alone in `shape` [B,C,H,W].
  std::optional<TensorView> latents;
  Shape shape;
  int64_t preview_every = 0;  // steps between previews of the predicted original sample; 0: none
};

// One step of a loop. `noise` is [B,C,H,W] here.
struct StepRequest : LoopRequest {
  int64_t step_index = 0;
  std::optional<double> timestep;  // instead of step_index: one of the scheduler's
  TensorView sample;               // [B,C,H,W]; the answer has its dtype
  // As the step before answered it; none for the first step that a loop runs.
  std::vector<TensorView> state;
};

struct DenoiseAccepted {
  std::string variant;
  uint64_t plan_bytes = 0;  // arena and request blocks that this request needs
  int64_t start_step = 0;
  int64_t end_step = 0;
};

struct DenoiseProgress {
  int64_t step = 0;   // just done, counted from 0 over the whole loop
  int64_t total = 0;  // steps that this request runs
  double timestep = 0;
  double ms = 0;  // of this step's own work
};

struct DenoiseResult {
  std::string model;
  std::string variant;
  std::string id;
  OutputTensor sample;                // after end_step
  OutputTensor pred_original_sample;  // of the last step
  std::vector<OutputTensor> state;    // of a Step: for the step after it; none after the last
  Timings timings;
  int64_t steps = 0;  // done
};

using StepCallback = std::function<void(StatusOr<DenoiseResult>)>;

// Told by the server, from any of its threads but never from two at once, and never again after
// OnFinished. Must not block, throw, nor destroy the server. The server lets go of it after
// OnFinished.
class DenoiseListener {
 public:
  virtual ~DenoiseListener() = default;
  virtual void OnAccepted(const DenoiseAccepted& accepted) = 0;
  virtual void OnProgress(const DenoiseProgress& progress) = 0;
  virtual void OnPreview(int64_t step, OutputTensor preview) = 0;
  // Exactly once, whatever happens; also the only call if the request is refused.
  virtual void OnFinished(StatusOr<DenoiseResult> result) = 0;
};

// One call's handle. Any thread; also after the call has ended, and after the server has gone.
class CallHandle {
 public:
  virtual ~CallHandle() = default;
  // The answer is CANCELLED at once if the call is queued, at the next operator if it runs alone,
  // at the forward's end if it shares one. No effect if it has ended.
  virtual void Cancel() = 0;
};

}  // namespace unetd
