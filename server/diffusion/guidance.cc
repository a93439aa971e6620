#include "server/diffusion/guidance.h"

#include <cmath>

namespace unetd {
namespace {

// Unbiased, as torch.std.
double StandardDeviation(const float* values, uint64_t count) {
  double mean = 0;
  for (uint64_t i = 0; i < count; ++i) mean += values[i];
  mean /= static_cast<double>(count);
  double squares = 0;
  for (uint64_t i = 0; i < count; ++i) squares += (values[i] - mean) * (values[i] - mean);
  return std::sqrt(squares / (static_cast<double>(count) - 1));
}

}  // namespace

void Guide(const float* uncond, const float* cond, uint64_t elements,
           const GuidanceOptions& options, float* out) {
  const double cond_deviation = options.rescale > 0 ? StandardDeviation(cond, elements) : 0;
  const auto scale = static_cast<float>(options.scale);
  for (uint64_t i = 0; i < elements; ++i) out[i] = uncond[i] + scale * (cond[i] - uncond[i]);
  if (options.rescale <= 0) return;
  const float ratio =
      static_cast<float>(cond_deviation) / static_cast<float>(StandardDeviation(out, elements));
  const auto mix = static_cast<float>(options.rescale);
  const auto rest = static_cast<float>(1 - options.rescale);
  for (uint64_t i = 0; i < elements; ++i) out[i] = mix * (out[i] * ratio) + rest * out[i];
}

}  // namespace unetd
