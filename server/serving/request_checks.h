// Checks of a request against its model, before any memory is taken for it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "server/diffusion/denoise_loop.h"
#include "server/serving/model.h"
#include "server/serving/request.h"
#include "server/serving/step_state.h"

namespace unetd {

// INVALID_ARGUMENT if it is no whole number above 0, NOT_FOUND if it is not 1; "" is 1.
Status CheckVersion(std::string_view model, std::string_view version);

struct CheckedInfer {
  UNetShape shape;
  uint32_t rows = 0;
  DType dtype = DType::kFloat32;  // of the sample, and so of the output
};
StatusOr<CheckedInfer> CheckInfer(const ServedModel& model, const InferRequest& request);

// A whole loop, a part of one, or a single step.
struct CheckedDenoise {
  UNetShape shape;
  uint32_t batch = 0;
  Shape sample_shape;             // [B,C,H,W], of the latents
  DType dtype = DType::kFloat32;  // of the sample, and so of the result
  DenoiseOptions options;
  std::unique_ptr<Scheduler> scheduler;  // with its timesteps

  // Of a single step: its answer has the scheduler's state.
  std::optional<StateOwner> state_owner;
  std::vector<TensorView> state;  // borrowed from the request; empty: the scheduler starts anew

  const char* kind() const { return state_owner ? "step" : "denoise"; }  // for logs
};
StatusOr<CheckedDenoise> CheckDenoise(const ServedModel& model, const DenoiseRequest& request);
StatusOr<CheckedDenoise> CheckStep(const ServedModel& model, const StepRequest& request);

// -- for all --

// For the processors of the variant that see more than one row: `rows` are what runs at once, with
// guidance twice the batch. They are one group of the runner's.
Status CheckGroup(const Snapshot& snapshot, const UNetShape& shape, uint32_t rows);

// At most max_batch rows.
Status CheckRows(const ServedModel& model, int64_t rows);
// Values that no plan checks: labels within their table.
Status CheckLabels(const ServedModel& model, const std::vector<NamedTensor>& tensors);

}  // namespace unetd
