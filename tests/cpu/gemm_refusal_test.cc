// What the cpu backend's convolution, linear and entry refuse, and that they say why.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "tests/cpu/gemm_cases.h"

namespace unetd::test {
namespace {

class GemmRefusalTest : public testing::Test {
 protected:
  GemmRefusalTest() : backend_("auto") {}
  void SetUp() override { ASSERT_TRUE(backend_.ok()) << backend_.error(); }

  void ExpectRefused(Call call, const std::string& reason) {
    const Outcome outcome = Ask(backend_, call);
    EXPECT_EQ(outcome.code, UNETD_UNSUPPORTED) << reason;
    EXPECT_NE(outcome.why.find(reason), std::string::npos) << outcome.why << " / " << reason;
  }
  void RefuseConv(const std::string& reason, const std::function<void(Call&)>& change) {
    Call call = MakeConv({.channels = {8, 4}, .row_bias = true, .residual = true});
    ASSERT_EQ(Ask(backend_, call).code, UNETD_OK);
    change(call);
    ExpectRefused(call, reason);
  }
  void RefuseLinear(const std::string& reason, const std::function<void(Call&)>& change) {
    Call call = MakeLinear({.segments = {8, 6}});
    ASSERT_EQ(Ask(backend_, call).code, UNETD_OK);
    change(call);
    ExpectRefused(call, reason);
  }
  CpuBackend backend_;
};

TEST_F(GemmRefusalTest, ConvNamesWhatItDoesNotServe) {
  RefuseConv("src0 is absent", [](Call& c) { c.args.erase(UNETD_ARG_SRC0); });
  RefuseConv("dst is absent", [](Call& c) { c.args.erase(UNETD_ARG_DST); });
  RefuseConv("stats_in is not served",
             [](Call& c) { c.args[UNETD_ARG_STATS_IN].view = View(8, 2); });
  RefuseConv("stats_out is not served",
             [](Call& c) { c.args[UNETD_ARG_STATS_OUT].view = View(8, 2); });
  RefuseConv("unknown argument", [](Call& c) { c.args[15].view = View(1, 1); });
  RefuseConv("src1 has stride", [](Call& c) { c.args[UNETD_ARG_SRC1].view.stride = 3; });
  RefuseConv("src1 has 63 tokens", [](Call& c) { c.args[UNETD_ARG_SRC1].view.tokens = 63; });
  RefuseConv("after an absent source", [](Call& c) {
    c.args[UNETD_ARG_SRC2] = c.args[UNETD_ARG_SRC1];
    c.args.erase(UNETD_ARG_SRC1);
  });
  RefuseConv("src0 is i32", [](Call& c) { c.args[UNETD_ARG_SRC0].view.dtype = UNETD_DTYPE_I32; });
  RefuseConv("unknown dtype 99", [](Call& c) { c.args[UNETD_ARG_DST].view.dtype = 99; });
  RefuseConv("dst has no channels", [](Call& c) { c.args[UNETD_ARG_DST].view.channels = 0; });
  RefuseConv("residual is [64, 7]", [](Call& c) { c.args[UNETD_ARG_RESIDUAL].view.channels = 7; });
  RefuseConv("row_bias is [2, 8]", [](Call& c) { c.args[UNETD_ARG_ROW_BIAS].view.tokens = 2; });
  RefuseConv("weight_dtype is i8", [](Call& c) { c.desc.weight_dtype = UNETD_DTYPE_I8; });
  RefuseConv("compute_dtype is f16", [](Call& c) { c.desc.compute_dtype = UNETD_DTYPE_F16; });
  RefuseConv("sum_dtype is f64", [](Call& c) { c.desc.sum_dtype = UNETD_DTYPE_F64; });
  RefuseConv("input size is 0x8", [](Call& c) { c.desc.u.conv2d.in_h = 0; });
  RefuseConv("src0 has 64 tokens, the input size says 72", [](Call& c) {
    c.desc.u.conv2d.in_h = 9;
    c.desc.u.conv2d.out_h = 9;
  });
  RefuseConv("output size is 7x8", [](Call& c) { c.desc.u.conv2d.out_h = 7; });
  RefuseConv("dst has 63 tokens", [](Call& c) {
    c.args[UNETD_ARG_DST].view.tokens = c.args[UNETD_ARG_RESIDUAL].view.tokens = 63;
  });
  RefuseConv("kernel size is 0x3", [](Call& c) { c.desc.u.conv2d.kernel_h = 0; });
  RefuseConv("gives -1x", [](Call& c) {
    c.desc.u.conv2d.kernel_h = 50;
    c.desc.u.conv2d.out_h = UINT32_MAX >> 12;
  });
  RefuseConv("stride is 0", [](Call& c) { c.desc.u.conv2d.stride = 0; });
  RefuseConv("resize is 16x0", [](Call& c) { c.desc.u.conv2d.resize_h = 16; });
  RefuseConv("size 4294967295 is too large", [](Call& c) { c.desc.u.conv2d.pad_top = UINT32_MAX; });
  RefuseConv("has_bias is 2", [](Call& c) { c.desc.u.conv2d.has_bias = 2; });
  RefuseConv("activation 5", [](Call& c) { c.desc.u.conv2d.activation = UNETD_ACT_GEGLU; });
  RefuseConv("out_scale", [](Call& c) { c.desc.u.conv2d.out_scale = NAN; });
  RefuseConv("algorithm is 3, expected 0 (auto), 1 (direct) or 2 (winograd)",
             [](Call& c) { c.desc.u.conv2d.algorithm = 3; });
  RefuseConv("reference size is 0x8", [](Call& c) { c.desc.u.conv2d.reference_w = 8; });
  RefuseConv("size 1048577 is too large",
             [](Call& c) { c.desc.u.conv2d.reference_h = (1 << 20) + 1; });
  RefuseConv("too large", [](Call& c) { c.args[UNETD_ARG_SRC0].view.stride = UINT64_MAX / 3; });
  RefuseConv("too many input channels", [](Call& c) {
    c.args[UNETD_ARG_SRC0].view.channels = 1u << 29;
    c.args[UNETD_ARG_SRC0].view.stride = 1u << 29;
  });
  RefuseConv("reserved", [](Call& c) { c.desc.reserved = 1; });
}

TEST_F(GemmRefusalTest, LinearNamesWhatItDoesNotServe) {
  RefuseLinear("src0 has 9 tokens", [](Call& c) { c.args[UNETD_ARG_SRC0].view.tokens = 9; });
  RefuseLinear("segments is 0", [](Call& c) { c.desc.u.linear.segments = 0; });
  RefuseLinear("segments is 9", [](Call& c) { c.desc.u.linear.segments = 9; });
  RefuseLinear("segment_rows[1] is 0", [](Call& c) { c.desc.u.linear.segment_rows[1] = 0; });
  RefuseLinear("the segments give 15", [](Call& c) { c.desc.u.linear.segment_rows[1] = 7; });
  RefuseLinear("bias_mask", [](Call& c) { c.desc.u.linear.bias_mask = 4; });
  RefuseLinear("activation 6", [](Call& c) { c.desc.u.linear.activation = 6; });
  RefuseLinear("one segment only", [](Call& c) { c.desc.u.linear.activation = UNETD_ACT_GEGLU; });
  RefuseLinear("even number", [](Call& c) {
    c.desc.u.linear.activation = UNETD_ACT_GEGLU;
    c.desc.u.linear.segments = 1;
    c.desc.u.linear.segment_rows[0] = 27;
  });
  RefuseLinear("row_bias is not served with geglu", [](Call& c) {
    c.desc.u.linear.activation = UNETD_ACT_GEGLU;
    c.desc.u.linear.segments = 1;
    c.desc.u.linear.segment_rows[0] = 28;
    c.args[UNETD_ARG_ROW_BIAS].view = View(1, 14);
  });
  RefuseLinear("out_scale", [](Call& c) { c.desc.u.linear.out_scale = INFINITY; });
  RefuseLinear("kind 99", [](Call& c) { c.desc.kind = 99; });
}

TEST_F(GemmRefusalTest, PackNamesAWrongWeight) {
  const auto expect = [&](Call call, const std::string& reason) {
    const Outcome outcome = RunOp(backend_, call);
    EXPECT_EQ(outcome.code, UNETD_INVALID) << reason;
    EXPECT_NE(outcome.why.find(reason), std::string::npos) << outcome.why << " / " << reason;
  };
  Call call = MakeConv({});
  call.weights[0].dims[1] = 9;
  call.weights[0].values.resize(8 * 9 * 9);
  expect(call, "conv2d weight is [8, 9, 3, 3], expected [8, 8, 3, 3]");
  call = MakeConv({});
  call.weights[1].dims = {8, 1};
  expect(call, "conv2d bias is [8, 1], expected [8]");
  call = MakeConv({.bias = false});
  call.weights[1] = MakeConv({}).weights[1];
  expect(call, "no weight 1");
  call = MakeLinear({.segments = {8, 6}});
  call.weights[1].dims = {6, 7};
  expect(call, "linear weight of segment 1 is [6, 7], expected [6, 8]");
  call = MakeLinear({});
  call.weights[0].dtype = UNETD_DTYPE_F64;
  expect(call, "is f64");
}

TEST_F(GemmRefusalTest, RunChecksItsArguments) {
  Call call = MakeLinear({});
  call.weights.erase(0);
  EXPECT_EQ(RunOp(backend_, call).code, UNETD_INVALID);
  EXPECT_EQ(RunOp(backend_, call).why, "weight 0 is null");
}

TEST_F(GemmRefusalTest, OpenNamesABadOption) {
  const auto open = [&](const char* key, const char* value) {
    const unetd_option option = {key, value};
    void* state = nullptr;
    unetd_error error = {};
    const int32_t code = backend_.table().open(nullptr, &option, 1, &state, &error);
    if (code == UNETD_OK) backend_.table().close(state);
    return std::to_string(code) + " " + error.text;
  };
  EXPECT_EQ(open("threads", "2"), "0 ");
  EXPECT_EQ(open("isa", "avx2"), "0 ");
  for (const char* bad : {"", "0", "-1", "1.5", "two", "99999999999999999999"}) {
    EXPECT_EQ(open("threads", bad), "2 option threads: expected a whole number from 1 to 1024");
  }
  EXPECT_EQ(open("isa", "sse"), "2 option isa: expected auto, avx2, avx512 or avx512_bf16");
  EXPECT_EQ(open("thread", "2"), "2 unknown option thread, expected threads or isa");
}

TEST_F(GemmRefusalTest, MemoryIsAlignedAndZeroSizesAreLetPass) {
  for (const uint64_t bytes : {0ull, 1ull, 1000ull, 2ull << 20, (5ull << 20) + 3}) {
    void* address = nullptr;
    unetd_error error = {};
    ASSERT_EQ(backend_.table().allocate(backend_.state(), bytes, &address, &error), UNETD_OK);
    EXPECT_EQ(reinterpret_cast<uint64_t>(address) % 64, 0u);
    std::memset(address, 1, bytes);
    backend_.table().free(backend_.state(), address, bytes);
  }
  void* address = nullptr;
  unetd_error error = {};
  EXPECT_EQ(backend_.table().allocate(backend_.state(), UINT64_MAX, &address, &error),
            UNETD_NO_MEMORY);
  EXPECT_EQ(std::string(error.text), "cannot allocate 18446744073709551615 bytes");
}

}  // namespace
}  // namespace unetd::test
