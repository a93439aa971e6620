// What a scheduler remembers between two Step calls, as it travels through the client: one tensor
// of UINT8, the header, then the scheduler's tensors. The header says what the state belongs to and
// ends with a checksum over everything, so that a mistake is told from a result: it is no
// signature, and schedulers check what they are given.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "server/base/status.h"
#include "server/diffusion/scheduler.h"
#include "server/serving/request.h"

namespace unetd {

// The loop that a state belongs to.
struct StateOwner {
  uint64_t scheduler = 0;  // a hash of its config
  int64_t steps = 0;       // of the whole loop, calls of the UNet
  Shape sample_shape;      // [B,C,H,W]
};

// The state before `next_step`. Its tensors are all of the sample's shape.
StatusOr<std::vector<OutputTensor>> EncodeState(const StateOwner& owner, int64_t next_step,
                                                const SchedulerState& state);

// The step that a state says it is for, whether it is good or not; none if it has no header.
std::optional<int64_t> ClaimedStep(const std::vector<TensorView>& state);

// INVALID_ARGUMENT saying what is wrong unless `state` was encoded for this owner and `step`, and
// no bit has changed since; or if it has more than `max_bytes` of tensors. Takes no memory.
Status CheckState(const StateOwner& owner, int64_t step, const std::vector<TensorView>& state,
                  uint64_t max_bytes);

// Of a state that CheckState found good.
StatusOr<SchedulerState> DecodeState(const std::vector<TensorView>& state);

}  // namespace unetd
