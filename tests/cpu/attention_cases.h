// Cases of attention: descriptors with seeded inputs, and plain loops in double to compare with.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/cpu/op_runner.h"

namespace unetd::test {

inline constexpr double kInf = std::numeric_limits<double>::infinity();

enum class Mask { kNone, kRow, kFull };

struct AttentionCase {
  uint32_t heads, head_dim;
  uint64_t queries, keys;
  Mask mask = Mask::kNone;
  int32_t dtype = UNETD_DTYPE_F32;
  bool fused = false;  // q, k and v beside one another in one buffer
  double spread = 2;   // of q and k
};

std::string Name(const AttentionCase& c);
Call MakeCall(const AttentionCase& c, uint32_t algorithm, uint32_t rows = 1);

struct AttentionExpected {
  std::vector<double> values;
  std::vector<double> sizes;  // sum of p * |v|: what rounding errors are proportional to
};
AttentionExpected Oracle(const AttentionCase& c, const Call& call, uint32_t row);

// Scores carry an error of about eps * (|q||k| scale + log2 e), which the exponential makes
// relative; the sums add theirs. `pairs`: of the kernels that multiply bfloat16.
double Tolerance(const AttentionCase& c, double size, bool pairs = false);

void ExpectClose(const AttentionCase& c, const Call& call, const Outcome& got);

class CpuTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }
  CpuBackend backend_{GetParam()};
};

}  // namespace unetd::test
