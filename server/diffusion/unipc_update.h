// The formulas of UniPC's predictor and corrector: https://arxiv.org/abs/2302.04867.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/sigma_schedule.h"

namespace unetd {

// The sample at the end of a step is
//   sample * s - output * m0 - residual * (sum of rhos[k] * D[k] + rho_now * (m - m0)),
// where s is the sample at its start, m0 the output (original or noise) there, m that at its end,
// which only the corrector knows, and D[k] = (m[k + 1] - m0) / ratios[k] for the outputs before m0.
struct UniPcUpdate {
  float sample = 0, output = 0, residual = 0;
  int64_t terms = 0;  // of D, one less than the order
  std::array<float, kMaxSolverOrder> rhos{}, ratios{};
  float rho_now = 0;  // the corrector's; the predictor's is 0
};

// `levels` end with those at the step's start and end; before them are as many as the order takes.
UniPcUpdate UniPcUpdateOf(const SchedulerConfig& config, std::span<const NoiseLevel> levels,
                          int64_t order, bool corrects);

}  // namespace unetd
