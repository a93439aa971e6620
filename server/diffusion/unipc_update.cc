#include "server/diffusion/unipc_update.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace unetd {
namespace {

using Vector = std::array<float, kMaxSolverOrder>;

float Expm1Of(float value) { return static_cast<float>(std::expm1(static_cast<double>(value))); }

// Solves the sum over k of points[k]^i * x[k] = b[i], i < n, as LAPACK's sgesv does.
Vector SolvePowers(const Vector& points, Vector b, int64_t n) {
  std::array<Vector, kMaxSolverOrder> rows;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < n; ++k) {
      rows[i][k] = i == 0 ? 1 : (i == 1 ? points[k] : std::pow(points[k], static_cast<float>(i)));
    }
  }
  for (int64_t column = 0; column < n; ++column) {
    int64_t pivot = column;
    for (int64_t i = column + 1; i < n; ++i) {
      if (std::fabs(rows[i][column]) > std::fabs(rows[pivot][column])) pivot = i;
    }
    std::swap(rows[pivot], rows[column]);
    std::swap(b[pivot], b[column]);
    for (int64_t i = column + 1; i < n; ++i) {
      const float factor = rows[i][column] / rows[column][column];
      for (int64_t k = column + 1; k < n; ++k) rows[i][k] -= factor * rows[column][k];
      b[i] -= factor * b[column];
    }
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t k = i + 1; k < n; ++k) b[i] -= rows[i][k] * b[k];
    b[i] /= rows[i][i];
  }
  return b;
}

}  // namespace

UniPcUpdate UniPcUpdateOf(const SchedulerConfig& config, std::span<const NoiseLevel> levels,
                          int64_t order, bool corrects) {
  const size_t start = levels.size() - 2;
  const NoiseLevel& from = levels[start];
  const NoiseLevel& to = levels[start + 1];
  const float h = to.lambda - from.lambda;
  const float hh = config.predict_x0 ? -h : h;
  const float phi_1 = Expm1Of(hh);
  const float b_h = config.solver_type == SolverType::kBh1 ? hh : phi_1;

  UniPcUpdate update;
  update.sample = config.predict_x0 ? to.sigma / from.sigma : to.alpha / from.alpha;
  update.output = (config.predict_x0 ? to.alpha : to.sigma) * phi_1;
  update.residual = (config.predict_x0 ? to.alpha : to.sigma) * b_h;
  update.terms = order - 1;

  Vector points{};
  for (int64_t k = 0; k < update.terms; ++k) {
    points[k] = update.ratios[k] = (levels[start - 1 - k].lambda - from.lambda) / h;
  }
  points[update.terms] = 1;
  Vector b{};
  float phi_k = phi_1 / hh - 1.0f;
  double factorial = 1;
  for (int64_t i = 0; i < order; ++i) {
    b[i] = phi_k * static_cast<float>(factorial) / b_h;
    factorial *= static_cast<double>(i + 2);
    phi_k = phi_k / hh - static_cast<float>(1 / factorial);
  }

  // The lowest orders have no equations to solve in diffusers.
  constexpr float kHalf = 0.5f;
  if (corrects) {
    update.rhos = order == 1 ? Vector{kHalf} : SolvePowers(points, b, order);
    update.rho_now = update.rhos[order - 1];
  } else {
    update.rhos = order <= 2 ? Vector{kHalf} : SolvePowers(points, b, order - 1);
  }
  return update;
}

}  // namespace unetd
