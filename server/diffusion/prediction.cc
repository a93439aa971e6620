#include "server/diffusion/prediction.h"

#include <algorithm>
#include <cmath>

namespace unetd {

Mix MixOf(float alpha_cumprod) {
  return {std::sqrt(alpha_cumprod), std::sqrt(1.0f - alpha_cumprod)};
}

void MixNoise(const Mix& mix, const float* original, const float* noise, uint64_t elements,
              float* noisy) {
  for (uint64_t i = 0; i < elements; ++i) {
    noisy[i] = mix.signal * original[i] + mix.deviation * noise[i];
  }
}

void NoiseBetween(const Mix& mix, const float* original, const float* sample, uint64_t elements,
                  float* noise) {
  for (uint64_t i = 0; i < elements; ++i) {
    noise[i] = (sample[i] - mix.signal * original[i]) / mix.deviation;
  }
}

void PredictOriginal(PredictionType type, const Mix& mix, const float* output, const float* sample,
                     uint64_t elements, float* original) {
  if (type == PredictionType::kEpsilon) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = (sample[i] - mix.deviation * output[i]) / mix.signal;
    }
  } else if (type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      original[i] = mix.signal * sample[i] - mix.deviation * output[i];
    }
  } else {
    std::copy_n(output, elements, original);
  }
}

void PredictNoise(PredictionType type, const Mix& mix, const float* output, const float* sample,
                  uint64_t elements, float* noise) {
  if (type == PredictionType::kEpsilon) {
    std::copy_n(output, elements, noise);
  } else if (type == PredictionType::kVPrediction) {
    for (uint64_t i = 0; i < elements; ++i) {
      noise[i] = mix.signal * output[i] + mix.deviation * sample[i];
    }
  } else {
    NoiseBetween(mix, output, sample, elements, noise);
  }
}

}  // namespace unetd
