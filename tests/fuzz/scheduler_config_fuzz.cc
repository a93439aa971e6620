// Any bytes are a config or a refusal; what is accepted makes timesteps, and a step that ends.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/diffusion/scheduler.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = unetd::ParseSchedulerConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok() || config->num_train_timesteps > 2000) return 0;  // time, not bounds
  auto scheduler = unetd::MakeScheduler(*config);
  if (!scheduler.ok() || !(*scheduler)->SetTimesteps(size % 20).ok()) return 0;
  const auto calls = static_cast<int64_t>((*scheduler)->timesteps().size());
  if (calls == 0) std::abort();
  float output[4] = {0.5f, -1}, sample[2] = {1, 2}, noise[2] = {-1, 1}, original[2];
  unetd::StepTensors tensors = {output, sample, noise, sample, original, 1, 2, 2};
  for (int64_t step = 0; step < calls; ++step) {
    (*scheduler)->NeedsNoise(step, {});
    tensors.output_elements = 2;
    if ((*scheduler)->Step(step, {}, tensors).ok()) continue;
    tensors.output_elements = 4;  // a learned variance
    if (!(*scheduler)->Step(step, {}, tensors).ok()) std::abort();
  }
  return 0;
}
