// The cpu backend's elementwise and layout against plain loops.
#include "tests/cpu/misc_cases.h"

namespace unetd::test {
namespace {

using ElementwiseTest = MiscTest;

Call Elementwise(uint32_t activation, float scale, float shift) {
  Call call;
  call.desc = Desc(UNETD_OP_ELEMENTWISE);
  call.desc.u.elementwise = {activation, scale, shift};
  return call;
}
double Activated(uint32_t activation, double x) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return x / (1 + std::exp(-x));
    case UNETD_ACT_GELU:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case UNETD_ACT_MISH:
      return x * std::tanh(std::log1p(std::exp(x)));
    case UNETD_ACT_RELU:
      return std::max(x, 0.0);
    default:
      return x;
  }
}

TEST_P(ElementwiseTest, ElementwiseActivationsAndDTypes) {
  for (const int32_t from : kStorage) {
    for (const int32_t to : kStorage) {
      for (uint32_t activation = UNETD_ACT_NONE; activation <= UNETD_ACT_RELU; ++activation) {
        for (const uint64_t pad : {0, 3}) {
          Call call = Elementwise(activation, 1.5f, -0.25f);
          call.rows = 2;
          call.args[UNETD_ARG_SRC0] = Input(50, 37, from, 2, 1, 37 + pad);
          call.args[UNETD_ARG_RESIDUAL] = Input(50, 37, to, 2, 2, 37 + pad);
          call.args[UNETD_ARG_DST] = Output(50, 37, to, 37 + pad);
          SCOPED_TRACE(std::to_string(activation) + " " + std::to_string(from) + " to " +
                       std::to_string(to));
          Check(
              call,
              [&](uint32_t row, uint64_t t, uint32_t c) {
                const double x = call.args[UNETD_ARG_SRC0].values[row][t * 37 + c];
                return Activated(activation, x * 1.5 - 0.25) +
                       call.args[UNETD_ARG_RESIDUAL].values[row][t * 37 + c];
              },
              [&](double y) { return std::fabs(y) * 1.01 * Epsilon(to) + 3e-6; });
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(ElementwiseTest, ElementwiseExtremes) {
  const std::vector<double> x = {0, -0.0, 88, -88, 104, -104, 1e30, -1e30, 700, -700, 19.9, 20.1};
  for (uint32_t activation = UNETD_ACT_NONE; activation <= UNETD_ACT_RELU; ++activation) {
    Call call = Elementwise(activation, 1, 0);
    call.args[UNETD_ARG_SRC0] = Output(1, static_cast<uint32_t>(x.size()), UNETD_DTYPE_F32);
    call.args[UNETD_ARG_SRC0].values = {x};
    call.args[UNETD_ARG_DST] = Output(1, static_cast<uint32_t>(x.size()), UNETD_DTYPE_F32);
    SCOPED_TRACE(activation);
    Check(
        call,
        [&](uint32_t, uint64_t, uint32_t c) {
          if (x[c] < -100 && activation != UNETD_ACT_NONE) return 0.0;
          return x[c] > 80 ? x[c] : Activated(activation, x[c]);
        },
        [](double y) { return std::fabs(y) * 3e-7 + 1e-30; });
    call.args[UNETD_ARG_SRC0].values[0].assign(x.size(), std::nan(""));
    const Outcome got = RunOp(backend_, call);
    for (const double y : got.values[0]) EXPECT_TRUE(std::isnan(y)) << activation;
  }
}

TEST_P(ElementwiseTest, ElementwiseConcatenatesSegments) {
  for (const uint64_t tokens : {1, 3, 900}) {
    const std::vector<uint32_t> sizes = {5, 16, 1, 40};
    Call call = Elementwise(UNETD_ACT_NONE, 1, 0);
    uint32_t channels = 0;
    for (uint32_t s = 0; s < 4; ++s) {
      call.args[s] = Input(tokens, sizes[s], kStorage[s % 3], 1, s, sizes[s] + s);
      channels += sizes[s];
    }
    call.args[UNETD_ARG_DST] = Output(tokens, channels, UNETD_DTYPE_F32, channels + 2);
    call.args[UNETD_ARG_RESIDUAL] = Input(tokens, channels, UNETD_DTYPE_F32, 1, 9, channels + 1);
    CheckExact(call, [&](uint32_t, uint64_t t, uint32_t c) {
      const double residual = call.args[UNETD_ARG_RESIDUAL].values[0][t * channels + c];
      uint32_t s = 0;
      for (; c >= sizes[s]; ++s) c -= sizes[s];
      return Rounded(call.args[s].values[0][t * sizes[s] + c] + residual, UNETD_DTYPE_F32);
    });
  }
}

TEST_P(ElementwiseTest, CastsRoundToNearestEven) {
  const std::vector<double> x = {1.0,     1 + 0x1p-11, 1 + 0x1.8p-10, 1 + 0x1p-9 + 0x1p-10,
                                 65519,   65520,       -70000.,       0x1p-24,
                                 0x1p-25, 0x1.8p-25,   3e38,          0x1.01p0,
                                 0x1.03p0};
  const uint32_t n = static_cast<uint32_t>(x.size());
  for (const int32_t dtype : {UNETD_DTYPE_F16, UNETD_DTYPE_BF16}) {
    Call call = Elementwise(UNETD_ACT_NONE, 1, 0);
    call.args[UNETD_ARG_SRC0] = Output(1, n, UNETD_DTYPE_F32);
    call.args[UNETD_ARG_SRC0].values = {x};
    call.args[UNETD_ARG_DST] = Output(1, n, dtype);
    const Outcome got = RunOp(backend_, call);
    ASSERT_EQ(got.code, UNETD_OK) << got.why;
    for (uint32_t i = 0; i < n; ++i) EXPECT_EQ(got.values[0][i], Rounded(x[i], dtype)) << x[i];
  }
}

TEST_P(ElementwiseTest, ElementwiseRefuses) {
  Call call = Elementwise(UNETD_ACT_NONE, 1, 0);
  call.args[UNETD_ARG_SRC0] = Output(4, 8, UNETD_DTYPE_F32);
  call.args[UNETD_ARG_DST] = Output(4, 8, UNETD_DTYPE_F32);
  EXPECT_EQ(Ask(backend_, call).code, UNETD_OK);
  const auto refused = [&](const char* words, const auto& change) {
    Call changed = call;
    change(changed);
    Refused(changed, words);
  };
  refused("activation", [](Call& c) { c.desc.u.elementwise.activation = UNETD_ACT_GEGLU; });
  refused("activation", [](Call& c) { c.desc.u.elementwise.activation = 99; });
  refused("scale", [](Call& c) { c.desc.u.elementwise.scale = INFINITY; });
  refused("shift", [](Call& c) { c.desc.u.elementwise.shift = NAN; });
  refused("dst", [](Call& c) { c.args[UNETD_ARG_DST].view.channels = 7; });
  refused("src0", [](Call& c) { c.args[UNETD_ARG_SRC0].view.dtype = UNETD_DTYPE_I64; });
  refused("residual", [](Call& c) { c.args[UNETD_ARG_RESIDUAL].view = View(5, 8); });
  refused("row_bias", [](Call& c) { c.args[UNETD_ARG_ROW_BIAS].view = View(1, 8); });
  refused("src0", [](Call& c) { c.args[UNETD_ARG_SRC0].view.tokens = uint64_t{1} << 60; });
  refused("src0", [](Call& c) { c.args.erase(UNETD_ARG_SRC0); });
}

// ---- layout ----

TEST_P(ElementwiseTest, LayoutBothWays) {
  for (const uint32_t channels : {1u, 3u, 4u, 8u, 15u, 16u, 17u, 33u, 320u}) {
    for (const uint64_t tokens : {1, 5, 16, 63, 700}) {
      for (const int32_t dtype : kStorage) {
        for (const uint32_t direction : {UNETD_LAYOUT_TO_CHANNELS_LAST, UNETD_LAYOUT_TO_PLANAR}) {
          const bool to_last = direction == UNETD_LAYOUT_TO_CHANNELS_LAST;
          Call call;
          call.desc = Desc(UNETD_OP_LAYOUT);
          call.desc.u.layout = {direction, 2, -1};
          call.rows = 2;
          call.args[UNETD_ARG_SRC0] = Input(tokens, channels, UNETD_DTYPE_F32, 2, 3, channels + 1);
          call.args[UNETD_ARG_DST] = Output(tokens, channels, dtype, channels + 2);
          call.args[to_last ? UNETD_ARG_SRC0 : UNETD_ARG_DST].view.stride = 0;
          SCOPED_TRACE(std::to_string(channels) + " x " + std::to_string(tokens));
          CheckExact(call, [&](uint32_t row, uint64_t t, uint32_t c) {
            const double x = call.args[UNETD_ARG_SRC0].values[row][t * channels + c];
            return Rounded(static_cast<double>(static_cast<float>(x * 2 - 1)), dtype);
          });
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(ElementwiseTest, LayoutRefuses) {
  Call call;
  call.desc = Desc(UNETD_OP_LAYOUT);
  call.desc.u.layout = {UNETD_LAYOUT_TO_PLANAR, 1, 0};
  call.args[UNETD_ARG_SRC0] = Output(6, 4, UNETD_DTYPE_F32);
  call.args[UNETD_ARG_DST] = Output(6, 4, UNETD_DTYPE_F32);
  Refused(call, "dst is planar");
  call.args[UNETD_ARG_DST].view.stride = 0;
  EXPECT_EQ(Ask(backend_, call).code, UNETD_OK);
  call.args[UNETD_ARG_SRC0].view.stride = 0;
  Refused(call, "src0 is channels-last");
  call.desc.u.layout.direction = 3;
  Refused(call, "direction");
}

INSTANTIATE_TEST_SUITE_P(Isa, ElementwiseTest, testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
