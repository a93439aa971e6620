// What a model's output says of its sample, by the config's prediction_type, where samples are
// signal * original + deviation * noise. All arrays are of `elements`.
#pragma once

#include <cstdint>

#include "server/diffusion/scheduler_config.h"

namespace unetd {

struct Mix {
  float signal, deviation;
};
Mix MixOf(float alpha_cumprod);  // its square root and that of the rest: of variance 1

void MixNoise(const Mix& mix, const float* original, const float* noise, uint64_t elements,
              float* noisy);
// The noise that lies between a sample and its original; `noise` may be `sample`.
void NoiseBetween(const Mix& mix, const float* original, const float* sample, uint64_t elements,
                  float* noise);

// `original` may not be an input; `noise` may be `output`.
void PredictOriginal(PredictionType type, const Mix& mix, const float* output, const float* sample,
                     uint64_t elements, float* original);
void PredictNoise(PredictionType type, const Mix& mix, const float* output, const float* sample,
                  uint64_t elements, float* noise);

}  // namespace unetd
