// Checks of what a scheduler remembers: some of it came from a client.
#pragma once

#include <cstdint>

#include "server/base/status.h"
#include "server/diffusion/scheduler.h"

namespace unetd {

// INVALID_ARGUMENT unless `state` is no counters and at most `most` tensors of `elements` each.
// Their values may be any: each row's stay with its row.
Status CheckState(const SchedulerState& state, uint64_t most, uint64_t elements);

// INVALID_ARGUMENT unless each tensor is of `elements`.
Status CheckSizes(const SchedulerState& state, uint64_t elements);

// INVALID_ARGUMENT unless the history is of as many rows as the step's tensors.
Status CheckHistory(const SchedulerState& state, const StepTensors& tensors);

}  // namespace unetd
