// What `unetctl profile` prints.
#include <gtest/gtest.h>

#include "client/unetctl/profile_report.h"

namespace unetd::unetctl {
namespace {

void Add(v1::ProfileResponse& profile, const char* layer, const char* kind, double ms,
         uint64_t flops, uint64_t bytes) {
  v1::OperatorTime& op = *profile.add_operators();
  op.set_layer(layer);
  op.set_kind(kind);
  op.set_name(std::string(kind) + " of " + layer);
  op.set_backend("cpu");
  op.set_kernel("fast");
  op.set_ms(ms);
  op.set_calls(1);
  op.set_flops(flops);
  op.set_bytes(bytes);
}

v1::ProfileResponse Small() {
  v1::ProfileResponse profile;
  profile.set_model("digits");
  profile.set_variant("lean");
  profile.set_shape("16x16 text=77");
  profile.set_cpu("a CPU");
  profile.set_rows(1);
  profile.set_threads(2);
  profile.set_repeats(5);
  profile.set_forward_ms(10);
  Add(profile, "conv_in", "conv2d", 2, 4'000'000, 1 << 20);
  Add(profile, "mid", "linear", 1, 1'000'000, 1 << 20);
  Add(profile, "mid", "conv2d", 4, 20'000'000, 3 << 20);
  Add(profile, "", "layout", 1, 0, 1 << 19);
  return profile;
}

TEST(Profile, KindsThenOperatorsTheSlowestFirst) {
  EXPECT_EQ(ProfileText(Small(), "", 3),
            "model digits, variant lean: 1 row of 16x16 text=77, 2 threads, a CPU\n"
            "forward 10.000 ms, its operators together 8.000 ms (80.0%): medians of 5; 0.0 GFLOP, "
            "2.5 GFLOP/s\n"
            "\n"
            "kind       ms   share  GFLOP/s  GB/s  calls\n"
            "------  -----  ------  -------  ----  -----\n"
            "conv2d  6.000   75.0%      4.0   0.7      2\n"
            "layout  1.000   12.5%        -   0.5      1\n"
            "linear  1.000   12.5%      1.0   1.0      1\n"
            "all     8.000  100.0%      3.1   0.7      4\n"
            "\n"
            "   ms  share  GFLOP/s   MiB  layer    operator           backend  kernel\n"
            "-----  -----  -------  ----  -------  -----------------  -------  ------\n"
            "4.000  50.0%      5.0  3.00  mid      conv2d of mid      cpu      fast\n"
            "2.000  25.0%      2.0  1.00  conv_in  conv2d of conv_in  cpu      fast\n"
            "1.000  12.5%      1.0  1.00  mid      linear of mid      cpu      fast\n"
            "the slowest 3 of 4 operators; --top 0 shows all\n");
}

TEST(Profile, OneTableByChoice) {
  const std::string kinds = ProfileText(Small(), "kind", 1);
  EXPECT_NE(kinds.find("\nlinear "), std::string::npos) << kinds;  // however many
  EXPECT_EQ(kinds.find("operator  "), std::string::npos) << kinds;
  const std::string layers = ProfileText(Small(), "layer", 1);
  EXPECT_NE(layers.find("\nmid    5.000   62.5%      4.2   0.8      2\n"), std::string::npos)
      << layers;
  EXPECT_NE(layers.find("\nthe slowest 1 of 3 layers; --top 0 shows all\n"), std::string::npos);
  EXPECT_NE(ProfileText(Small(), "layer", 0).find("\n-        1.000"), std::string::npos);
  const std::string operators = ProfileText(Small(), "operator", 0);
  EXPECT_NE(operators.find("layout of "), std::string::npos) << operators;
  EXPECT_EQ(operators.find("--top"), std::string::npos) << operators;
  EXPECT_EQ(operators.find("calls"), std::string::npos) << operators;
}

TEST(Profile, AServersTextIsMadeSafe) {
  v1::ProfileResponse profile = Small();
  profile.set_cpu("a \x1b[31m CPU");
  profile.mutable_operators(0)->set_kernel("\x1b[2J");
  EXPECT_EQ(ProfileText(profile, "", 0).find('\x1b'), std::string::npos);
}

TEST(Profile, NoOperatorsAreNoDivision) {
  const std::string text = ProfileText(v1::ProfileResponse(), "", 20);
  EXPECT_NE(text.find("operators together 0.000 ms (-)"), std::string::npos) << text;
}

}  // namespace
}  // namespace unetd::unetctl
