// What the tests of the small operators share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/cpu/op_runner.h"

namespace unetd::test {

inline constexpr int32_t kStorage[] = {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16};

class MiscTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }

  // Runs with 1 and 2 threads and slots reversed, expects the same bits, no damage, and `want`
  // within `slack`.
  template <typename Want, typename Slack>
  void Check(Call call, const Want& want, const Slack& slack) {
    const Outcome got = RunOp(backend_, call);
    ASSERT_EQ(got.code, UNETD_OK) << got.why;
    EXPECT_EQ(got.damage, "");
    const uint32_t channels = call.args.at(UNETD_ARG_DST).view.channels;
    for (uint32_t row = 0; row < call.rows; ++row) {
      for (uint64_t i = 0; i < got.values[row].size(); ++i) {
        const double value = want(row, i / channels, static_cast<uint32_t>(i % channels));
        ASSERT_NEAR(got.values[row][i], value, slack(value)) << "row " << row << " element " << i;
      }
    }
    call.threads = 2;
    call.reverse_slots = true;
    const Outcome again = RunOp(backend_, call);
    ASSERT_EQ(again.code, UNETD_OK) << again.why;
    EXPECT_EQ(again.raw, got.raw);
  }
  template <typename Want>
  void CheckExact(const Call& call, const Want& want) {
    Check(call, want, [](double) { return 0.0; });
  }
  void Refused(Call call, const char* words) {
    const Outcome got = Ask(backend_, call);
    EXPECT_EQ(got.code, UNETD_UNSUPPORTED) << words;
    EXPECT_NE(got.why.find(words), std::string::npos) << got.why;
  }

  CpuBackend backend_{GetParam()};
};

inline Arg Input(uint64_t tokens, uint32_t channels, int32_t dtype, uint32_t rows, uint64_t seed,
                 uint64_t stride = 0, double scale = 4) {
  Arg arg;
  arg.view = View(tokens, channels, dtype, stride);
  for (uint32_t row = 0; row < rows; ++row) {
    arg.values.push_back(Noise(tokens * channels, seed * 100 + row, dtype, scale));
  }
  return arg;
}
inline Arg Output(uint64_t tokens, uint32_t channels, int32_t dtype, uint64_t stride = 0) {
  Arg arg;
  arg.view = View(tokens, channels, dtype, stride);
  return arg;
}

}  // namespace unetd::test
