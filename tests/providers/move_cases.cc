// Operators that move, cast and scale.
#include <tuple>

#include "tests/providers/cases.h"

namespace unetd::test {
namespace {

OperatorCase Resize(const char* name, uint32_t mode, unetd_resize sizes, uint32_t segments,
                    int32_t dtype) {
  OperatorCase test =
      NewCase(std::string("resize_") + name + "_" + DTypeLabel(dtype), UNETD_OP_RESIZE, dtype);
  test.desc.u.resize = sizes;
  test.desc.u.resize.mode = mode;
  SetSources(test, uint64_t{sizes.in_h} * sizes.in_w, 19, dtype, segments, 2);
  SetView(test, UNETD_ARG_DST, uint64_t{sizes.out_h} * sizes.out_w, 19, dtype, 3);
  // Nearest copies; the others round a product and an addition for each pixel that they sum.
  const double terms = mode == UNETD_RESIZE_MEAN        ? 1.0 * sizes.in_h * sizes.in_w
                       : mode == UNETD_RESIZE_BLUR_DOWN ? 16
                                                        : 4;
  if (mode != UNETD_RESIZE_NEAREST) Allow(test, 2 * terms * kLargest * kU32);
  return test;
}

OperatorCase Gather(const char* name, uint32_t group, uint32_t batch_size, int32_t dtype) {
  OperatorCase test = NewCase(std::string("gather_rows_") + name + "_" + DTypeLabel(dtype),
                              UNETD_OP_GATHER_ROWS, dtype);
  test.desc.u.gather_rows.batch_size = batch_size;
  test.rows = 8;
  test.group = group;
  SetSources(test, 13, 21, dtype, 1, 4);
  SetView(test, UNETD_ARG_DST, 13, 21, dtype, 1);
  return test;
}

struct Element {
  const char* name;
  uint32_t activation = UNETD_ACT_NONE;
  float scale = 1, shift = 0;
  bool residual = false;
  uint32_t segments = 1;
  int32_t dst = 0;                            // 0: as the input
  bool by_channel = false, by_token = false;  // row_scale
};

OperatorCase Elementwise(const Element& c, int32_t dtype) {
  OperatorCase test = NewCase(std::string("elementwise_") + c.name + "_" + DTypeLabel(dtype),
                              UNETD_OP_ELEMENTWISE, dtype);
  test.desc.u.elementwise = {c.activation, c.scale, c.shift};
  const int32_t dst = c.dst != 0 ? c.dst : dtype;
  SetSources(test, 29, 37, dtype, c.segments, 3);
  SetView(test, UNETD_ARG_DST, 29, 37, dst, 2);
  if (c.residual) SetView(test, UNETD_ARG_RESIDUAL, 29, 37, dst, 1);
  if (c.by_channel) SetView(test, UNETD_ARG_ROW_SCALE, 1, 37, dtype, 0);
  if (c.by_token) SetView(test, UNETD_ARG_ROW_SCALE, 29, 1, dtype, 2);
  test.shift[UNETD_ARG_SRC0] = 1;
  // An activation by polynomial, a product and two sums.
  const double factor = c.by_channel || c.by_token ? kLargest : 1;
  Allow(test,
        16 * kU32 * ((std::fabs(c.scale) * kLargest + std::fabs(c.shift)) * factor + kLargest));
  return test;
}

OperatorCase Layout(const char* name, uint32_t direction, float scale, float shift, int32_t src,
                    int32_t dst) {
  OperatorCase test =
      NewCase(std::string("layout_") + name + "_" + DTypeLabel(src) + "_to_" + DTypeLabel(dst),
              UNETD_OP_LAYOUT, dst);
  test.desc.u.layout = {direction, scale, shift};
  SetView(test, UNETD_ARG_SRC0, 35, 5, src, 2);
  SetView(test, UNETD_ARG_DST, 35, 5, dst, 3);
  // A planar view has stride 0.
  test.desc.args[direction == UNETD_LAYOUT_TO_PLANAR ? UNETD_ARG_DST : UNETD_ARG_SRC0].stride = 0;
  Allow(test, 4 * kU32 * (std::fabs(scale) * kLargest + std::fabs(shift)));
  return test;
}

struct Wave {
  const char* name;
  uint32_t n, dim;
  uint32_t flip = 1;
  float freq_shift = 0;
  uint32_t fourier = 0;
};

OperatorCase Sinusoid(const Wave& c, int32_t dtype) {
  OperatorCase test = NewCase(std::string("sinusoid_") + c.name + "_" + DTypeLabel(dtype),
                              UNETD_OP_SINUSOID, dtype);
  test.desc.u.sinusoid = {c.dim, c.flip, c.freq_shift, c.fourier};
  SetView(test, UNETD_ARG_SRC0, c.n, 1, UNETD_DTYPE_F32);
  SetView(test, UNETD_ARG_DST, 1, c.n * c.dim, dtype);
  // Fourier's frequencies are N(0, 16), so its inputs (logarithms) stay small.
  constexpr double kDeviation = 16;
  const double largest = c.fourier != 0 ? 7 : 1000;
  if (c.fourier != 0) SetWeight(test, 0, {c.dim / 2}, kDeviation);
  test.fill[UNETD_ARG_SRC0] = [n = c.n, largest](uint32_t row) {
    Random random(row + 3);
    std::vector<float> values;
    for (uint32_t i = 0; i < n; ++i)
      values.push_back(static_cast<float>(random.Uniform() * largest));
    return values;
  };
  // The angle is x f; f = exp(e) with |e| < 9.3 carries |e| u32 and exp's own error, Fourier's two
  // more products; sin has slope 1.
  const double angle = c.fourier != 0 ? largest * kDeviation * kLargest * 2 * 3.2 : largest;
  Allow(test, angle * kU32 * (c.fourier != 0 ? 6 : 24) + 8 * kU32);
  return test;
}

OperatorCase Lookup(const char* name, uint32_t entries, uint32_t channels, int32_t dtype) {
  OperatorCase test =
      NewCase(std::string("lookup_") + name + "_" + DTypeLabel(dtype), UNETD_OP_LOOKUP, dtype);
  test.desc.u.lookup.entries = entries;
  test.rows = 3;
  SetView(test, UNETD_ARG_SRC0, 1, 1, UNETD_DTYPE_I32);
  SetView(test, UNETD_ARG_DST, 1, channels, dtype);
  SetWeight(test, 0, {entries, channels}, 1);
  test.fill[UNETD_ARG_SRC0] = [entries](uint32_t row) {
    return std::vector<float>{static_cast<float>(row == 0 ? entries - 1 : row * 5 % entries)};
  };
  return test;
}

}  // namespace

void AddMoveCases(std::vector<OperatorCase>& cases) {
  for (int32_t dtype : kDTypes) {
    constexpr uint32_t kNearest = UNETD_RESIZE_NEAREST;
    constexpr uint32_t kAverage = UNETD_RESIZE_AVERAGE_2X2;
    cases.push_back(Resize("double", kNearest, {0, 5, 4, 10, 8}, 1, dtype));
    cases.push_back(Resize("odd", kNearest, {0, 3, 5, 7, 9}, 1, dtype));
    cases.push_back(Resize("down", kNearest, {0, 9, 8, 4, 3}, 1, dtype));
    cases.push_back(Resize("same", kNearest, {0, 4, 4, 4, 4}, 1, dtype));
    cases.push_back(Resize("segments3", kNearest, {0, 4, 3, 8, 6}, 3, dtype));
    cases.push_back(Resize("average", kAverage, {0, 8, 6, 4, 3}, 1, dtype));
    cases.push_back(Resize("average_odd", kAverage, {0, 7, 5, 3, 2}, 2, dtype));
    for (const auto& [name, h, w] :
         {std::tuple{"", 6u, 8u}, {"_odd", 7u, 5u}, {"_least", 2u, 3u}}) {
      cases.push_back(Resize((std::string("blur_down") + name).c_str(), UNETD_RESIZE_BLUR_DOWN,
                             {0, h, w, h / 2, w / 2}, 1, dtype));
      cases.push_back(Resize((std::string("blur_up") + name).c_str(), UNETD_RESIZE_BLUR_UP,
                             {0, h, w, 2 * h, 2 * w}, 1, dtype));
      cases.push_back(Resize((std::string("mean") + name).c_str(), UNETD_RESIZE_MEAN,
                             {0, h, w, 1, 1}, 1, dtype));
    }
    cases.push_back(Gather("alone", 1, 2, dtype));
    cases.push_back(Gather("4_by_2", 4, 2, dtype));
    cases.push_back(Gather("8_by_2", 8, 2, dtype));
    cases.push_back(Gather("8_by_1", 8, 1, dtype));
    cases.push_back(Gather("8_by_3", 8, 3, dtype));
    cases.push_back(Gather("2_by_4", 2, 4, dtype));
    cases.push_back(Elementwise({.name = "copy"}, dtype));
    cases.push_back(Elementwise({.name = "affine", .scale = 2, .shift = -1}, dtype));
    cases.push_back(Elementwise({.name = "residual", .residual = true}, dtype));
    cases.push_back(Elementwise({.name = "segments4", .segments = 4}, dtype));
    cases.push_back(Elementwise({.name = "silu", .activation = UNETD_ACT_SILU}, dtype));
    cases.push_back(Elementwise({.name = "gelu", .activation = UNETD_ACT_GELU}, dtype));
    cases.push_back(Elementwise({.name = "mish", .activation = UNETD_ACT_MISH}, dtype));
    cases.push_back(Elementwise({.name = "relu", .activation = UNETD_ACT_RELU}, dtype));
    cases.push_back(
        Elementwise({.name = "silu_steep", .activation = UNETD_ACT_SILU, .scale = 20}, dtype));
    cases.push_back(
        Elementwise({.name = "mish_steep", .activation = UNETD_ACT_MISH, .scale = 20}, dtype));
    cases.push_back(Elementwise({.name = "by_channel", .by_channel = true}, dtype));
    cases.push_back(Elementwise({.name = "by_token", .segments = 2, .by_token = true}, dtype));
    cases.push_back(Elementwise({.name = "by_token_everything",
                                 .activation = UNETD_ACT_SILU,
                                 .scale = 2,
                                 .residual = true,
                                 .by_token = true},
                                dtype));
    cases.push_back(Elementwise(
        {.name = "by_channel_everything", .residual = true, .segments = 3, .by_channel = true},
        dtype));
    cases.push_back(Elementwise({.name = "to_f32", .dst = UNETD_DTYPE_F32}, dtype));
    cases.push_back(
        Elementwise({.name = "to_f16", .residual = true, .dst = UNETD_DTYPE_F16}, dtype));
    cases.push_back(
        Elementwise({.name = "to_bf16", .segments = 2, .dst = UNETD_DTYPE_BF16}, dtype));
    cases.push_back(Elementwise({.name = "everything",
                                 .activation = UNETD_ACT_GELU,
                                 .scale = 0.5f,
                                 .shift = 0.25f,
                                 .residual = true,
                                 .segments = 3},
                                dtype));
    for (int32_t other : {static_cast<int32_t>(UNETD_DTYPE_F32), dtype}) {
      cases.push_back(Layout("last", UNETD_LAYOUT_TO_CHANNELS_LAST, 1, 0, other, dtype));
      cases.push_back(Layout("planar", UNETD_LAYOUT_TO_PLANAR, 1, 0, dtype, other));
      if (dtype == UNETD_DTYPE_F32) break;
    }
    cases.push_back(
        Layout("last_affine", UNETD_LAYOUT_TO_CHANNELS_LAST, 2, -1, UNETD_DTYPE_F32, dtype));
    cases.push_back(
        Layout("planar_affine", UNETD_LAYOUT_TO_PLANAR, 0.5f, 0.5f, dtype, UNETD_DTYPE_F32));
    OperatorCase copy = NewCase(std::string("copy_") + DTypeLabel(dtype), UNETD_OP_COPY, dtype);
    SetSources(copy, 11, 18, dtype, 1, 3);
    SetView(copy, UNETD_ARG_DST, 11, 18, dtype, 1);
    cases.push_back(copy);
    cases.push_back(Sinusoid({.name = "320", .n = 1, .dim = 320}, dtype));
    cases.push_back(
        Sinusoid({.name = "sin_first", .n = 1, .dim = 64, .flip = 0, .freq_shift = 1}, dtype));
    cases.push_back(Sinusoid({.name = "odd", .n = 1, .dim = 33}, dtype));
    cases.push_back(Sinusoid({.name = "six", .n = 6, .dim = 256}, dtype));
    cases.push_back(
        Sinusoid({.name = "fourier", .n = 1, .dim = 64, .flip = 0, .fourier = 1}, dtype));
    cases.push_back(Lookup("ten", 10, 128, dtype));
    cases.push_back(Lookup("odd", 1001, 7, dtype));
  }
}

}  // namespace unetd::test
