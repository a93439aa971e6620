// The cpu backend's resize, gather_rows, sinusoid, lookup and copy against plain loops.
#include "tests/cpu/misc_cases.h"

namespace unetd::test {
namespace {

using SmallOpTest = MiscTest;

// ---- resize ----

TEST_P(SmallOpTest, ResizeNearestByTorchsRule) {
  const uint32_t sizes[][4] = {{1, 1, 2, 2}, {3, 5, 6, 10}, {5, 7, 9, 13},
                               {8, 8, 8, 8}, {9, 6, 4, 11}, {4, 4, 7, 8}};
  for (const auto& [in_h, in_w, out_h, out_w] : sizes) {
    for (const int32_t dtype : kStorage) {
      Call call;
      call.desc = Desc(UNETD_OP_RESIZE);
      call.desc.u.resize = {UNETD_RESIZE_NEAREST, in_h, in_w, out_h, out_w};
      call.rows = 2;
      call.args[UNETD_ARG_SRC0] = Input(uint64_t{in_h} * in_w, 19, dtype, 2, 5, 21);
      call.args[UNETD_ARG_DST] = Output(uint64_t{out_h} * out_w, 19, dtype, 20);
      CheckExact(call, [&, h = in_h, w = in_w, oh = out_h, ow = out_w](uint32_t row, uint64_t t,
                                                                       uint32_t c) {
        const auto source = [](uint64_t i, uint32_t in, uint32_t out) {
          const float ratio = static_cast<float>(in) / static_cast<float>(out);
          return std::min<uint64_t>(static_cast<uint64_t>(static_cast<float>(i) * ratio), in - 1);
        };
        const uint64_t from = source(t / ow, h, oh) * w + source(t % ow, w, ow);
        return call.args[UNETD_ARG_SRC0].values[row][from * 19 + c];
      });
    }
  }
}

TEST_P(SmallOpTest, ResizeAverage) {
  for (const auto& [h, w] : {std::pair{2u, 2u}, {4u, 6u}, {5u, 7u}, {9u, 2u}}) {
    for (const int32_t dtype : kStorage) {
      Call call;
      call.desc = Desc(UNETD_OP_RESIZE);
      call.desc.u.resize = {UNETD_RESIZE_AVERAGE_2X2, h, w, h / 2, w / 2};
      call.args[UNETD_ARG_SRC0] = Input(uint64_t{h} * w, 35, dtype, 1, 6);
      call.args[UNETD_ARG_DST] = Output(uint64_t{h / 2} * (w / 2), 35, dtype);
      Check(
          call,
          [&, w = w](uint32_t, uint64_t t, uint32_t c) {
            const uint64_t y = t / (w / 2) * 2, x = t % (w / 2) * 2;
            double sum = 0;
            for (uint64_t i = 0; i < 4; ++i) {
              sum += call.args[UNETD_ARG_SRC0].values[0][((y + i / 2) * w + x + i % 2) * 35 + c];
            }
            return sum / 4;
          },
          [&](double v) { return std::fabs(v) * 1.01 * Epsilon(dtype) + 1e-6; });
    }
  }
}

TEST_P(SmallOpTest, ResizeRefuses) {
  Call call;
  call.desc = Desc(UNETD_OP_RESIZE);
  call.desc.u.resize = {UNETD_RESIZE_AVERAGE_2X2, 4, 6, 2, 3};
  call.args[UNETD_ARG_SRC0] = Output(24, 8, UNETD_DTYPE_F32);
  call.args[UNETD_ARG_DST] = Output(6, 8, UNETD_DTYPE_F32);
  EXPECT_EQ(Ask(backend_, call).code, UNETD_OK);
  call.desc.u.resize.mode = 6;
  Refused(call, "mode");
  call.desc.u.resize = {UNETD_RESIZE_AVERAGE_2X2, 4, 6, 3, 2};
  Refused(call, "average");
  call.desc.u.resize = {UNETD_RESIZE_NEAREST, 5, 6, 2, 3};
  Refused(call, "in_h");
  call.desc.u.resize = {UNETD_RESIZE_NEAREST, 4, 6, 2, 4};
  Refused(call, "dst");
}

// ---- rows, embeddings, copies ----

TEST_P(SmallOpTest, GatherRowsWithinEachGroup) {
  for (uint32_t batch = 1; batch <= 4; ++batch) {
    Call call;
    call.desc = Desc(UNETD_OP_GATHER_ROWS);
    call.desc.u.gather_rows = {batch};
    call.rows = 8;  // groups of 6 and 2
    call.group_first = {0, 0, 0, 0, 0, 0, 6, 6};
    call.group_size = {6, 6, 6, 6, 6, 6, 2, 2};
    call.args[UNETD_ARG_SRC0] = Input(300, 70, UNETD_DTYPE_F16, 8, 7, 72);
    call.args[UNETD_ARG_DST] = Output(300, 70, UNETD_DTYPE_F16, 71);
    CheckExact(call, [&](uint32_t row, uint64_t t, uint32_t c) {
      const uint32_t first = row < 6 ? 0 : 6, size = row < 6 ? 6 : 2;
      const uint32_t frames = std::max(1u, size / batch);
      const uint32_t from = first + (row - first) / frames * frames;
      return call.args[UNETD_ARG_SRC0].values[from][t * 70 + c];
    });
    call.group_size[7] = 3;  // beyond the rows
    const Outcome got = RunOp(backend_, call);
    EXPECT_EQ(got.code, UNETD_INVALID);
    call.desc.u.gather_rows = {0};
    Refused(call, "batch_size");
  }
}

TEST_P(SmallOpTest, SinusoidAsGetTimestepEmbedding) {
  const std::vector<double> times = {0, 1, 999, 500.5, 0.125, 981, 37.75};
  for (const uint32_t dim : {2u, 7u, 32u, 320u, 321u}) {
    for (const uint32_t flip : {0u, 1u}) {
      for (const float shift : {0.0f, 1.0f}) {
        if (dim < 4 && shift == 1) continue;
        Call call;
        call.desc = Desc(UNETD_OP_SINUSOID);
        call.desc.u.sinusoid = {dim, flip, shift, 0};
        const uint64_t n = times.size();
        call.args[UNETD_ARG_SRC0] = Output(n, 1, UNETD_DTYPE_F32, 3);
        call.args[UNETD_ARG_SRC0].values = {times};
        call.args[UNETD_ARG_DST] = Output(1, static_cast<uint32_t>(n) * dim, UNETD_DTYPE_F32);
        const uint32_t half = dim / 2;
        Check(
            call,
            [&](uint32_t, uint64_t, uint32_t c) {
              const uint32_t i = c % dim;
              if (i >= 2 * half) return 0.0;
              const bool sine = (i < half) != (flip == 1);
              // Each step in float32.
              const float exponent = static_cast<float>(-std::log(10000.0)) *
                                     static_cast<float>(i % half) /
                                     (static_cast<float>(half) - shift);
              const float frequency = static_cast<float>(std::exp(static_cast<double>(exponent)));
              const float angle = static_cast<float>(times[c / dim]) * frequency;
              return sine ? std::sin(static_cast<double>(angle))
                          : std::cos(static_cast<double>(angle));
            },
            [](double) { return 1e-7; });
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(SmallOpTest, SinusoidOfFourierFrequencies) {
  Call call;
  call.desc = Desc(UNETD_OP_SINUSOID);
  call.desc.u.sinusoid = {40, 1, 0, 1};
  call.rows = 2;
  call.args[UNETD_ARG_SRC0] = Input(3, 1, UNETD_DTYPE_F32, 2, 11);
  call.args[UNETD_ARG_DST] = Output(1, 120, UNETD_DTYPE_F32);
  const std::vector<double> w = Noise(20, 12, UNETD_DTYPE_F32, 16);
  call.weights[0] = {{w.begin(), w.end()}, {20}, UNETD_DTYPE_F32};
  Check(
      call,
      [&](uint32_t row, uint64_t, uint32_t c) {
        const double angle =
            call.args[UNETD_ARG_SRC0].values[row][c / 40] * w[c % 20] * 2 * 3.14159265358979;
        return c % 40 < 20 ? std::cos(angle) : std::sin(angle);
      },
      // Angles up to 400, rounded three times.
      [](double) { return 400 * 4 * Epsilon(UNETD_DTYPE_F32); });
  call.desc.u.sinusoid.fourier = 2;
  Refused(call, "fourier");
}

TEST_P(SmallOpTest, SinusoidRefuses) {
  Call call;
  call.desc = Desc(UNETD_OP_SINUSOID);
  call.desc.u.sinusoid = {8, 1, 0, 0};
  call.args[UNETD_ARG_SRC0] = Output(2, 1, UNETD_DTYPE_F32);
  call.args[UNETD_ARG_DST] = Output(1, 16, UNETD_DTYPE_F32);
  EXPECT_EQ(Ask(backend_, call).code, UNETD_OK);
  call.desc.u.sinusoid.freq_shift = 4;
  Refused(call, "freq_shift");
  call.desc.u.sinusoid = {8, 2, 0, 0};
  Refused(call, "flip_sin_to_cos");
  call.desc.u.sinusoid = {0, 1, 0, 0};
  Refused(call, "dim");
  call.desc.u.sinusoid = {9, 1, 0, 0};
  Refused(call, "dst");
  call.desc.u.sinusoid = {8, 1, 0, 0};
  call.args[UNETD_ARG_SRC0].view.dtype = UNETD_DTYPE_I32;
  Refused(call, "src0");
}

TEST_P(SmallOpTest, LookupOfEveryEntry) {
  for (const int32_t stored : kStorage) {
    for (const int32_t to : kStorage) {
      Call call;
      call.desc = Desc(UNETD_OP_LOOKUP);
      call.desc.weight_dtype = stored;
      call.desc.u.lookup = {9};
      call.rows = 9;
      call.args[UNETD_ARG_SRC0] = Output(1, 1, UNETD_DTYPE_I32);
      for (uint32_t row = 0; row < 9; ++row) {
        call.args[UNETD_ARG_SRC0].values.push_back({static_cast<double>(8 - row)});
      }
      call.args[UNETD_ARG_DST] = Output(1, 45, to);
      const std::vector<double> table = Noise(9 * 45, 8);
      call.weights[0] = {{table.begin(), table.end()}, {9, 45}, UNETD_DTYPE_F32};
      CheckExact(call, [&](uint32_t row, uint64_t, uint32_t c) {
        return Rounded(Rounded(table[(8 - row) * 45 + c], stored), to);
      });
      call.args[UNETD_ARG_SRC0].values[3] = {9};
      EXPECT_EQ(RunOp(backend_, call).code, UNETD_INVALID);
      call.args[UNETD_ARG_SRC0].values[3] = {-1};
      EXPECT_EQ(RunOp(backend_, call).code, UNETD_INVALID);
      call.weights[0].dims = {9, 44};
      EXPECT_EQ(RunOp(backend_, call).code, UNETD_INVALID);
      call.desc.u.lookup = {0};
      Refused(call, "entries");
    }
  }
}

TEST_P(SmallOpTest, CopyOfAnyDType) {
  for (const int32_t dtype : {UNETD_DTYPE_F32, UNETD_DTYPE_BF16, UNETD_DTYPE_I32}) {
    Call call;
    call.desc = Desc(UNETD_OP_COPY);
    call.rows = 3;
    call.args[UNETD_ARG_SRC0] = Input(400, 50, dtype, 3, 9, 53, 1000);
    if (dtype == UNETD_DTYPE_I32) {
      for (auto& row : call.args[UNETD_ARG_SRC0].values) {
        for (double& x : row) x = std::trunc(x);
      }
    }
    call.args[UNETD_ARG_DST] = Output(400, 50, dtype);
    CheckExact(call, [&](uint32_t row, uint64_t t, uint32_t c) {
      return call.args[UNETD_ARG_SRC0].values[row][t * 50 + c];
    });
    call.args[UNETD_ARG_DST].view.dtype = UNETD_DTYPE_F16;
    Refused(call, "dst");
    call.args[UNETD_ARG_DST].view = View(400, 49, dtype);
    Refused(call, "dst");
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, SmallOpTest, testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
