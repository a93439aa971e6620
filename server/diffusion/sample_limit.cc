#include "server/diffusion/sample_limit.h"

#include <algorithm>
#include <cmath>

#include "server/diffusion/noise_schedule.h"

namespace unetd {

SampleLimit::SampleLimit(const SchedulerConfig& config)
    : thresholding_(config.thresholding),
      clip_(config.clip_sample),
      ratio_(static_cast<float>(config.dynamic_thresholding_ratio)),
      max_(static_cast<float>(config.sample_max_value)),
      range_(static_cast<float>(config.clip_sample_range)) {}

uint64_t SampleLimit::Bytes(uint64_t row_elements) const {
  return thresholding_ ? row_elements * sizeof(float) : 0;
}

void SampleLimit::Apply(float* row, uint64_t elements) {
  if (thresholding_) return Threshold(row, elements);
  if (!clip_) return;
  for (uint64_t i = 0; i < elements; ++i) row[i] = Clamp(row[i], -range_, range_);
}

// torch.quantile, interpolated linearly: its rank is a float32, and a NaN is the answer to a NaN.
float SampleLimit::Quantile(const float* row, uint64_t elements) {
  sorted_.resize(elements);
  for (uint64_t i = 0; i < elements; ++i) {
    if (std::isnan(row[i])) return NAN;
    sorted_[i] = std::fabs(row[i]);
  }
  const float rank = ratio_ * static_cast<float>(elements - 1);
  const auto below = std::min(static_cast<uint64_t>(rank), elements - 1);
  const auto above = std::min(static_cast<uint64_t>(std::ceil(rank)), elements - 1);
  const float weight = rank - static_cast<float>(below);
  const auto nth = sorted_.begin() + static_cast<int64_t>(below);
  std::nth_element(sorted_.begin(), nth, sorted_.end());
  const float a = *nth;
  const float b = above == below ? a : *std::min_element(nth + 1, sorted_.end());
  return weight < 0.5f ? a + weight * (b - a) : b - (b - a) * (1 - weight);
}

void SampleLimit::Threshold(float* row, uint64_t elements) {
  if (elements == 0) return;
  const float s = Clamp(Quantile(row, elements), 1.0f, max_);
  for (uint64_t i = 0; i < elements; ++i) {
    row[i] = (std::isnan(s) ? s : Clamp(row[i], -s, s)) / s;
  }
}

}  // namespace unetd
