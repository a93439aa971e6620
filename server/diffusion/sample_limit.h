// SampleLimit: what keeps a predicted original sample in range, `thresholding` or `clip_sample`.
#pragma once

#include <cstdint>
#include <vector>

#include "server/diffusion/scheduler_config.h"

namespace unetd {

class SampleLimit {
 public:
  // Thresholding goes before clipping where a config has both.
  explicit SampleLimit(const SchedulerConfig& config);

  // Memory that Apply takes for rows of that size.
  uint64_t Bytes(uint64_t row_elements) const;
  // In place; each row by itself.
  void Apply(float* row, uint64_t elements);

 private:
  void Threshold(float* row, uint64_t elements);
  float Quantile(const float* row, uint64_t elements);  // of the magnitudes

  const bool thresholding_, clip_;
  const float ratio_, max_, range_;
  std::vector<float> sorted_;  // scratch of Quantile
};

}  // namespace unetd
