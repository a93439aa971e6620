// The formulas of DPM-Solver and DPM-Solver++, deterministic and stochastic:
// https://arxiv.org/abs/2206.00927, https://arxiv.org/abs/2211.01095.
#pragma once

#include "server/diffusion/scheduler_config.h"
#include "server/diffusion/sigma_schedule.h"

namespace unetd {

// The sample after a step is
//   sample * s + d0 * D0 + d1 * D1 + d2 * D2 + noise * n,
// where D0 is the output (original or noise) and D1, D2 are its difference quotients. What the
// order of the step does not use may be anything.
struct DpmSolverUpdate {
  float sample = 0;
  float d0 = 0, d1 = 0, d2 = 0;
  float noise = 0;  // 0: the step needs none
};

DpmSolverUpdate DpmSolverUpdateOf(const SchedulerConfig& config, const NoiseLevel& from,
                                  const NoiseLevel& to, int64_t order);

}  // namespace unetd
