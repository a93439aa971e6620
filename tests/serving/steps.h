// Single steps, as tests ask for them.
#pragma once

#include "tests/serving/client_loop.h"

namespace unetd {

inline StatusOr<DenoiseResult> Step(Server& server, StepRequest request) {
  Answer<DenoiseResult> answer;
  server.Step(std::move(request), [&](StatusOr<DenoiseResult> r) { answer.Set(std::move(r)); });
  return std::move(answer.Wait());
}

// The tensors of a state as they come back from a client.
inline std::vector<TensorView> ViewsOf(const std::vector<OutputTensor>& state) {
  std::vector<TensorView> views;
  for (const OutputTensor& tensor : state) {
    views.push_back({tensor.dtype, tensor.shape, tensor.bytes.data(), tensor.bytes.size()});
  }
  return views;
}

// Of TinySettings, for all tests.
inline Server& TheServer() {
  static Server* const server = Loaded(TinySettings()).release();
  return *server;
}

// What a step is told of a loop.
inline StepRequest StepOf(const DenoiseRequest& loop, int64_t index, const Shape& shape,
                          const std::vector<float>& sample,
                          const std::vector<OutputTensor>& state) {
  StepRequest step;
  static_cast<LoopRequest&>(step) = loop;
  step.step_index = index;
  step.sample = ViewOf(shape, sample);
  step.state = ViewsOf(state);
  return step;
}

}  // namespace unetd
