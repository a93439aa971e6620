// How far two results of a case are apart.
#pragma once

#include <cmath>
#include <string>

#include "tests/support/operator_run.h"

namespace unetd::test {

// The largest difference in units of what the case allows, and where it is. A value that is not
// finite, or of another shape, is infinitely far.
struct Difference {
  double worst = 0;
  std::string where;
};

inline Difference Compare(const OperatorCase& test, const RunResult& got,
                          const RunResult& expected) {
  Difference result;
  if (got.values.size() != expected.values.size()) return {INFINITY, "another number of rows"};
  const uint32_t channels = test.desc.args[UNETD_ARG_DST].channels;
  for (size_t row = 0; row < expected.values.size(); ++row) {
    if (got.values[row].size() != expected.values[row].size()) return {INFINITY, "another shape"};
    for (size_t i = 0; i < expected.values[row].size(); ++i) {
      const double want = expected.values[row][i];
      const double have = got.values[row][i];
      const double allowed = test.absolute + test.relative * std::fabs(want);
      double ratio = have == want ? 0 : std::fabs(have - want) / allowed;
      if (!std::isfinite(have) || std::isnan(ratio)) ratio = INFINITY;
      if (ratio <= result.worst) continue;
      result.worst = ratio;
      result.where = "row " + std::to_string(row) + ", token " + std::to_string(i / channels) +
                     ", channel " + std::to_string(i % channels) + ": got " + std::to_string(have) +
                     ", expected " + std::to_string(want) + ", allowed " + std::to_string(allowed);
    }
  }
  return result;
}

}  // namespace unetd::test
