#include "server/diffusion/dpm_solver_update.h"

#include <algorithm>
#include <cmath>

namespace unetd {
namespace {

float Root(float value) { return std::sqrt(std::max(value, 0.0f)); }

DpmSolverUpdate Original(const NoiseLevel& from, const NoiseLevel& to, bool midpoint) {
  const float h = to.lambda - from.lambda;
  const float decay = ExpOf(-h) - 1.0f;
  DpmSolverUpdate update;
  update.sample = to.sigma / from.sigma;
  update.d0 = -(to.alpha * decay);
  update.d1 = midpoint ? 0.5f * update.d0 : to.alpha * (decay / h + 1.0f);
  update.d2 = -(to.alpha * ((decay + h) / (h * h) - 0.5f));
  return update;
}

DpmSolverUpdate StochasticOriginal(const NoiseLevel& from, const NoiseLevel& to, bool midpoint) {
  const float h = to.lambda - from.lambda;
  const float twice = 2.0f * h;
  const float decay = 1.0f - ExpOf(-twice);
  DpmSolverUpdate update;
  update.sample = to.sigma / from.sigma * ExpOf(-h);
  update.d0 = to.alpha * decay;
  update.d1 = midpoint ? 0.5f * update.d0 : to.alpha * (decay / -twice + 1.0f);
  update.d2 = to.alpha * ((decay - twice) / (twice * twice) - 0.5f);
  update.noise = to.sigma * Root(decay);
  return update;
}

DpmSolverUpdate Noise(const NoiseLevel& from, const NoiseLevel& to, bool midpoint) {
  const float h = to.lambda - from.lambda;
  const float growth = ExpOf(h) - 1.0f;
  DpmSolverUpdate update;
  update.sample = to.alpha / from.alpha;
  update.d0 = -(to.sigma * growth);
  update.d1 = midpoint ? 0.5f * update.d0 : -(to.sigma * (growth / h - 1.0f));
  update.d2 = -(to.sigma * ((growth - h) / (h * h) - 0.5f));
  return update;
}

DpmSolverUpdate StochasticNoise(const NoiseLevel& from, const NoiseLevel& to, bool midpoint) {
  DpmSolverUpdate update = Noise(from, to, midpoint);
  const float h = to.lambda - from.lambda;
  update.d0 *= 2;
  update.d1 *= 2;
  update.noise = to.sigma * Root(ExpOf(2.0f * h) - 1.0f);
  return update;
}

}  // namespace

DpmSolverUpdate DpmSolverUpdateOf(const SchedulerConfig& config, const NoiseLevel& from,
                                  const NoiseLevel& to, int64_t order) {
  // A third order has one formula only.
  const bool midpoint = order == 2 && config.solver_type == SolverType::kMidpoint;
  switch (config.algorithm_type) {
    case AlgorithmType::kDpmSolver:
      return Noise(from, to, midpoint);
    case AlgorithmType::kSdeDpmSolver:
      return StochasticNoise(from, to, midpoint);
    case AlgorithmType::kSdeDpmSolverPp:
      return StochasticOriginal(from, to, midpoint);
    case AlgorithmType::kDpmSolverPp:
      break;
  }
  return Original(from, to, midpoint);
}

}  // namespace unetd
