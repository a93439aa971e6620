#include "server/diffusion/scheduler_history.h"

#include "server/base/text.h"

namespace unetd {

Status CheckState(const SchedulerState& state, uint64_t most, uint64_t elements) {
  if (!state.counters.empty()) {
    return InvalidArgument(
        Format("state: expected no counters for this scheduler, got {}", state.counters.size()));
  }
  if (state.tensors.size() > most) {
    return InvalidArgument(Format("state: expected at most {} tensors at this step, got {}", most,
                                  state.tensors.size()));
  }
  return CheckSizes(state, elements);
}

Status CheckSizes(const SchedulerState& state, uint64_t elements) {
  for (size_t i = 0; i < state.tensors.size(); ++i) {
    if (state.tensors[i].size() == elements) continue;
    return InvalidArgument(Format("state: tensor {}: expected {} elements, got {}", i, elements,
                                  state.tensors[i].size()));
  }
  return OkStatus();
}

Status CheckHistory(const SchedulerState& state, const StepTensors& tensors) {
  const uint64_t elements = tensors.rows * tensors.row_elements;
  for (const auto& tensor : state.tensors) {
    if (tensor.size() == elements) continue;
    return InvalidArgument(Format("step: expected {} elements as in the steps before, got {}",
                                  tensor.size(), elements));
  }
  return OkStatus();
}

}  // namespace unetd
