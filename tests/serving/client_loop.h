// The denoising loop as a client runs it: inferences, guidance in plain numbers, a scheduler of its
// own. What the server's loops are compared with, bit by bit.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "server/diffusion/noise.h"
#include "server/diffusion/scheduler.h"
#include "server/weights/weight_store.h"
#include "tests/serving/server_fixture.h"

namespace unetd {

inline std::vector<float> FloatsOf(const OutputTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}
inline std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
inline TensorView ViewOf(const Shape& shape, const std::vector<float>& values) {
  return {DType::kFloat32, shape, values.data(), values.size() * sizeof(float)};
}

// Channels of each row of `a` [B,A,H,W], then those of `b` [B,E,H,W].
inline FloatTensor Joined(const FloatTensor& a, const FloatTensor& b) {
  FloatTensor joined{a.name, a.shape, {}};
  joined.shape[1] += b.shape[1];
  const int64_t rows = a.shape[0];
  const auto wide_a = static_cast<int64_t>(a.values.size()) / rows;
  const auto wide_b = static_cast<int64_t>(b.values.size()) / rows;
  for (int64_t row = 0; row < rows; ++row) {
    const auto from_a = a.values.begin() + row * wide_a;
    const auto from_b = b.values.begin() + row * wide_b;
    joined.values.insert(joined.values.end(), from_a, from_a + wide_a);
    joined.values.insert(joined.values.end(), from_b, from_b + wide_b);
  }
  return joined;
}

inline std::unique_ptr<Scheduler> SchedulerOf(const std::string& json, int64_t steps) {
  const auto base = ReadSchedulerFile(Digits() / "scheduler");
  const auto config = ParseSchedulerConfig(json.empty() ? "{}" : json, *base);
  EXPECT_TRUE(config.ok()) << config.status().message();
  auto scheduler = MakeScheduler(*config);
  EXPECT_TRUE(scheduler.ok()) << scheduler.status().message();
  EXPECT_TRUE((*scheduler)->SetTimesteps(steps).ok());
  return *std::move(scheduler);
}

struct ClientLoop {
  Server& server;
  DenoiseRequest request;  // model, conditions, guidance, scheduler and seeds are read
  bool learned_variance = false;
  // [B,E,H,W], shown to the UNet beside the sample; empty: nothing.
  FloatTensor beside = {}, negative_beside = {};
  // After each step, with the step to come.
  std::function<void(const Scheduler&, int64_t next, std::vector<float>& sample)> after = {};

  // Each row's channels as the UNet gives them.
  FloatTensor Forward(const FloatTensor& latents, const FloatTensor& pictures, double timestep,
                      const std::vector<NamedTensor>& conditions) {
    const FloatTensor sample = pictures.values.empty() ? latents : Joined(latents, pictures);
    const auto time = static_cast<float>(timestep);
    InferRequest infer;
    infer.model = request.model;
    infer.variant = request.variant;
    infer.inputs = conditions;
    infer.inputs.push_back(sample.Named());
    infer.inputs.push_back({"timestep", {DType::kFloat32, {1}, &time, sizeof(time)}});
    const auto answer = Infer(server, infer);
    EXPECT_TRUE(answer.ok()) << answer.status().message();
    if (!answer.ok()) return latents;
    return {"", answer->outputs[0].shape, FloatsOf(answer->outputs[0])};
  }

  // Steps [start, end) from `latents`.
  std::vector<float> Run(FloatTensor latents, int64_t start, int64_t end) {
    latents.name = "sample";
    const auto scheduler = SchedulerOf(request.scheduler_json, request.num_inference_steps);
    const auto rows = static_cast<uint64_t>(latents.shape[0]);
    const uint64_t wide = latents.values.size() / rows;
    for (int64_t step = start; step < end; ++step) {
      FloatTensor scaled = latents;
      const auto scale = static_cast<float>(scheduler->InputScale(step));
      for (float& value : scaled.values) value *= scale;
      const double timestep = scheduler->timesteps()[step];
      const FloatTensor cond = Forward(scaled, beside, timestep, request.conditions);
      FloatTensor uncond = cond;
      if (request.guidance_scale > 1) {
        uncond = Forward(scaled, negative_beside.values.empty() ? beside : negative_beside,
                         timestep, request.negative_conditions);
      }
      const uint64_t given = cond.values.size() / rows, read = learned_variance ? 2 * wide : wide;
      std::vector<float> output, noise(latents.values.size()), original(latents.values.size());
      for (uint64_t row = 0; row < rows; ++row) {
        FillNormal(request.seeds[row], StepStream(step), {noise.data() + row * wide, wide});
        for (uint64_t i = 0; i < read; ++i) {
          const float c = cond.values[row * given + i], u = uncond.values[row * given + i];
          const bool guided = request.guidance_scale > 1 && i < wide;
          output.push_back(guided ? u + static_cast<float>(request.guidance_scale) * (c - u) : c);
        }
      }
      StepTensors tensors{output.data(),
                          latents.values.data(),
                          noise.data(),
                          latents.values.data(),
                          original.data(),
                          rows,
                          wide,
                          read};
      const Status status = scheduler->Step(step, {request.eta, false}, tensors);
      EXPECT_TRUE(status.ok()) << status.message();
      if (after) after(*scheduler, step + 1, latents.values);
    }
    return latents.values;
  }

  // The noise that the loop starts from.
  FloatTensor StartNoise(const Shape& shape) const {
    FloatTensor noise{"sample", shape, std::vector<float>(*CheckedElements(shape))};
    const uint64_t wide = noise.values.size() / static_cast<uint64_t>(shape[0]);
    for (size_t row = 0; row < request.seeds.size(); ++row) {
      FillNormal(request.seeds[row], kLatentStream, {noise.values.data() + row * wide, wide});
    }
    return noise;
  }
};

}  // namespace unetd
