// The operators on which every provider is compared with the reference provider, and what they may
// differ by.
//
// Tolerances. u is the unit roundoff of a dtype: half its epsilon. Both sides round the result to
// its stored dtype, so they may differ by one unit in the last place there: 2 u(stored) |expected|.
// What comes before is float32: a sum of n products whose result has standard deviation s has
// partial sums of about s, each addition rounds by u32 s at most, and the roundings add up like a
// random walk: u32 s sqrt(n). A factor of 16 covers the tails over all elements of a test and a
// fast convolution's (Winograd's) larger constants; 64 u32 s covers the rest (bias, residual,
// activation by polynomial). Inputs are N(0, 1) and weights N(0, 1/n), so s is 1.
#pragma once

#include <cmath>
#include <vector>

#include "tests/support/operator_case.h"

namespace unetd::test {

inline double UnitRoundoff(int32_t dtype) {
  return dtype == UNETD_DTYPE_BF16 ? 0x1p-8 : dtype == UNETD_DTYPE_F16 ? 0x1p-11 : 0x1p-24;
}
inline constexpr double kU32 = 0x1p-24;
inline constexpr double kLargest = 4.3;  // |value| of Normal() at most

// Of a float32 sum of n products, for a result of standard deviation 1.
inline double SumError(double n) { return kU32 * (64 + 16 * std::sqrt(n)); }

inline void Allow(OperatorCase& test, double absolute) {
  test.absolute = absolute;
  test.relative = 2 * UnitRoundoff(test.desc.args[UNETD_ARG_DST].dtype);
}

inline constexpr int32_t kDTypes[] = {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16};

void AddConvCases(std::vector<OperatorCase>& cases);
void AddLinearCases(std::vector<OperatorCase>& cases);
void AddNormCases(std::vector<OperatorCase>& cases);
void AddAttentionCases(std::vector<OperatorCase>& cases);
void AddMoveCases(std::vector<OperatorCase>& cases);

// All of them. Names are unique: letters, digits and '_', beginning with the kind.
const std::vector<OperatorCase>& AllCases();

}  // namespace unetd::test
