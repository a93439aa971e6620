// Convolutions: sizes that fill no tile, each field of the descriptor alone, and all of them at
// once.
#include "tests/providers/cases.h"

namespace unetd::test {
namespace {

struct Conv {
  const char* name;
  uint32_t h, w, in, out;
  uint32_t kernel_h = 3, kernel_w = 3, stride = 1;
  uint32_t top = 1, left = 1, bottom = 1, right = 1;
  uint32_t resize_h = 0, resize_w = 0;
  uint32_t segments = 1;
  uint32_t bias = 1;
  uint32_t activation = UNETD_ACT_NONE;
  bool row_bias = false, residual = false;
  float out_scale = 1;
  uint32_t gap = 0;    // elements between tokens
  uint32_t shift = 0;  // elements beyond alignment
  uint32_t algorithm = UNETD_CONV_AUTO;
  uint32_t reference = 0;  // a side of the size that the choice goes by
};

OperatorCase Make(const Conv& c, int32_t dtype) {
  OperatorCase test =
      NewCase(std::string("conv2d_") + c.name + "_" + DTypeLabel(dtype), UNETD_OP_CONV2D, dtype);
  unetd_conv2d& conv = test.desc.u.conv2d;
  const uint32_t full_h = c.resize_h != 0 ? c.resize_h : c.h;
  const uint32_t full_w = c.resize_w != 0 ? c.resize_w : c.w;
  conv.in_h = c.h;
  conv.in_w = c.w;
  conv.out_h = (full_h + c.top + c.bottom - c.kernel_h) / c.stride + 1;
  conv.out_w = (full_w + c.left + c.right - c.kernel_w) / c.stride + 1;
  conv.kernel_h = c.kernel_h;
  conv.kernel_w = c.kernel_w;
  conv.stride = c.stride;
  conv.pad_top = c.top;
  conv.pad_left = c.left;
  conv.pad_bottom = c.bottom;
  conv.pad_right = c.right;
  conv.resize_h = c.resize_h;
  conv.resize_w = c.resize_w;
  conv.has_bias = c.bias;
  conv.activation = c.activation;
  conv.out_scale = c.out_scale;
  conv.algorithm = c.algorithm;
  conv.reference_h = conv.reference_w = c.reference;
  const uint64_t out_tokens = uint64_t{conv.out_h} * conv.out_w;
  SetSources(test, uint64_t{c.h} * c.w, c.in, dtype, c.segments, c.gap);
  SetView(test, UNETD_ARG_DST, out_tokens, c.out, dtype, c.gap);
  if (c.row_bias) SetView(test, UNETD_ARG_ROW_BIAS, 1, c.out, dtype);
  if (c.residual) SetView(test, UNETD_ARG_RESIDUAL, out_tokens, c.out, dtype, c.gap / 2);
  for (uint32_t arg = 0; c.shift != 0 && arg < UNETD_ARG_COUNT; ++arg) test.shift[arg] = c.shift;
  const double terms = double{1} * c.in * c.kernel_h * c.kernel_w;
  SetWeight(test, 0, {c.out, c.in, c.kernel_h, c.kernel_w}, 1 / std::sqrt(terms));
  if (c.bias != 0) SetWeight(test, 1, {c.out}, 1);
  Allow(test, std::fabs(c.out_scale) * SumError(terms));
  return test;
}

}  // namespace

void AddConvCases(std::vector<OperatorCase>& cases) {
  static constexpr uint32_t kSilu = UNETD_ACT_SILU;
  static const Conv kAll[] = {
      {.name = "8x8", .h = 8, .w = 8, .in = 16, .out = 16},
      {.name = "odd", .h = 7, .w = 5, .in = 5, .out = 3},
      {.name = "one_pixel", .h = 1, .w = 1, .in = 20, .out = 9},
      {.name = "one_channel", .h = 6, .w = 6, .in = 1, .out = 1},
      {.name = "wide", .h = 1, .w = 70, .in = 3, .out = 5},
      {.name = "tall", .h = 67, .w = 2, .in = 6, .out = 17},
      {.name = "in_4_to_320", .h = 12, .w = 12, .in = 4, .out = 320},
      {.name = "out_320_to_4", .h = 9, .w = 10, .in = 320, .out = 4},
      {.name = "16x16", .h = 16, .w = 16, .in = 64, .out = 64},
      {.name = "32x32", .h = 32, .w = 32, .in = 32, .out = 32},
      {.name = "13x11", .h = 13, .w = 11, .in = 40, .out = 48},
      {.name = "deep", .h = 8, .w = 8, .in = 640, .out = 96},
      {.name = "1x1",
       .h = 6,
       .w = 6,
       .in = 33,
       .out = 17,
       .kernel_h = 1,
       .kernel_w = 1,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "1x1_stride2",
       .h = 7,
       .w = 6,
       .in = 18,
       .out = 20,
       .kernel_h = 1,
       .kernel_w = 1,
       .stride = 2,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "5x5",
       .h = 9,
       .w = 9,
       .in = 7,
       .out = 10,
       .kernel_h = 5,
       .kernel_w = 5,
       .top = 2,
       .left = 2,
       .bottom = 2,
       .right = 2},
      {.name = "7x7_stride3",
       .h = 14,
       .w = 11,
       .in = 3,
       .out = 8,
       .kernel_h = 7,
       .kernel_w = 7,
       .stride = 3,
       .top = 3,
       .left = 3,
       .bottom = 3,
       .right = 3},
      {.name = "3x1", .h = 6, .w = 5, .in = 12, .out = 12, .kernel_w = 1, .left = 0, .right = 0},
      {.name = "1x3", .h = 6, .w = 5, .in = 12, .out = 12, .kernel_h = 1, .top = 0, .bottom = 0},
      {.name = "no_padding",
       .h = 9,
       .w = 8,
       .in = 16,
       .out = 24,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "stride2", .h = 9, .w = 8, .in = 16, .out = 24, .stride = 2},
      {.name = "stride2_right",
       .h = 8,
       .w = 10,
       .in = 16,
       .out = 24,
       .stride = 2,
       .top = 0,
       .left = 0},
      {.name = "stride2_tiny", .h = 2, .w = 2, .in = 32, .out = 32, .stride = 2},
      {.name = "uneven_padding",
       .h = 6,
       .w = 7,
       .in = 8,
       .out = 8,
       .top = 2,
       .left = 0,
       .bottom = 1,
       .right = 3},
      {.name = "resize_double", .h = 5, .w = 4, .in = 24, .out = 24, .resize_h = 10, .resize_w = 8},
      {.name = "resize_double_16",
       .h = 8,
       .w = 8,
       .in = 48,
       .out = 48,
       .resize_h = 16,
       .resize_w = 16},
      {.name = "resize_odd", .h = 3, .w = 5, .in = 10, .out = 12, .resize_h = 7, .resize_w = 9},
      {.name = "resize_down", .h = 9, .w = 8, .in = 6, .out = 7, .resize_h = 5, .resize_w = 3},
      {.name = "segments2", .h = 8, .w = 8, .in = 48, .out = 32, .segments = 2},
      {.name = "segments3", .h = 7, .w = 6, .in = 37, .out = 20, .segments = 3, .gap = 3},
      {.name = "segments4", .h = 5, .w = 9, .in = 64, .out = 24, .segments = 4},
      {.name = "segments2_1x1",
       .h = 8,
       .w = 8,
       .in = 100,
       .out = 50,
       .kernel_h = 1,
       .kernel_w = 1,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0,
       .segments = 2},
      {.name = "segments2_resize",
       .h = 4,
       .w = 4,
       .in = 24,
       .out = 16,
       .resize_h = 8,
       .resize_w = 8,
       .segments = 2},
      {.name = "no_bias", .h = 8, .w = 8, .in = 16, .out = 16, .bias = 0},
      {.name = "row_bias", .h = 8, .w = 8, .in = 32, .out = 40, .row_bias = true},
      {.name = "residual", .h = 8, .w = 8, .in = 32, .out = 40, .residual = true},
      {.name = "out_scale", .h = 8, .w = 8, .in = 32, .out = 40, .out_scale = 0.7071f},
      {.name = "silu", .h = 8, .w = 8, .in = 16, .out = 16, .activation = kSilu},
      {.name = "gelu", .h = 8, .w = 8, .in = 16, .out = 16, .activation = UNETD_ACT_GELU},
      {.name = "mish", .h = 8, .w = 8, .in = 16, .out = 16, .activation = UNETD_ACT_MISH},
      {.name = "relu", .h = 8, .w = 8, .in = 16, .out = 16, .activation = UNETD_ACT_RELU},
      {.name = "gap", .h = 8, .w = 8, .in = 16, .out = 16, .gap = 5},
      {.name = "unaligned",
       .h = 8,
       .w = 8,
       .in = 19,
       .out = 21,
       .residual = true,
       .gap = 1,
       .shift = 1},
      {.name = "everything",
       .h = 9,
       .w = 7,
       .in = 50,
       .out = 36,
       .segments = 2,
       .activation = kSilu,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.5f,
       .gap = 7,
       .shift = 3},
      {.name = "everything_stride2",
       .h = 9,
       .w = 7,
       .in = 50,
       .out = 36,
       .stride = 2,
       .segments = 3,
       .activation = kSilu,
       .row_bias = true,
       .residual = true,
       .out_scale = -2,
       .gap = 4},
      {.name = "everything_resize",
       .h = 5,
       .w = 6,
       .in = 30,
       .out = 28,
       .resize_h = 10,
       .resize_w = 12,
       .segments = 2,
       .activation = UNETD_ACT_GELU,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.5f},
      {.name = "everything_1x1",
       .h = 9,
       .w = 7,
       .in = 70,
       .out = 66,
       .kernel_h = 1,
       .kernel_w = 1,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0,
       .segments = 2,
       .activation = kSilu,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.5f,
       .gap = 2},
      // Sizes at which a fast algorithm (Winograd's, 4 x 4 or 2 x 2 outputs a tile) pays, whole
      // tiles and cut ones.
      {.name = "fast4", .h = 32, .w = 32, .in = 64, .out = 64},
      {.name = "fast4_everything",
       .h = 31,
       .w = 33,
       .in = 64,
       .out = 72,
       .segments = 2,
       .activation = kSilu,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.5f,
       .gap = 3,
       .shift = 1},
      {.name = "fast4_resize",
       .h = 15,
       .w = 17,
       .in = 64,
       .out = 64,
       .resize_h = 30,
       .resize_w = 34},
      {.name = "fast4_no_padding",
       .h = 35,
       .w = 36,
       .in = 64,
       .out = 64,
       .top = 0,
       .left = 0,
       .bottom = 0,
       .right = 0},
      {.name = "fast2_everything",
       .h = 9,
       .w = 11,
       .in = 96,
       .out = 70,
       .segments = 2,
       .activation = kSilu,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.5f,
       .gap = 16},
      {.name = "fast2_resize", .h = 5, .w = 6, .in = 80, .out = 64, .resize_h = 10, .resize_w = 12},
      {.name = "fast2_uneven",
       .h = 10,
       .w = 9,
       .in = 64,
       .out = 64,
       .top = 2,
       .left = 0,
       .bottom = 0,
       .right = 1},
      // Served at other sizes than the one that the choice goes by, and against what would be
      // chosen.
      {.name = "fast4_at_5x7", .h = 5, .w = 7, .in = 64, .out = 64, .reference = 64},
      {.name = "fast4_at_1x1", .h = 1, .w = 1, .in = 64, .out = 72, .reference = 64},
      {.name = "fast4_at_3x64", .h = 3, .w = 64, .in = 64, .out = 64, .reference = 64},
      {.name = "fast2_at_33x31", .h = 33, .w = 31, .in = 64, .out = 64, .reference = 8},
      {.name = "slow_at_32x32", .h = 32, .w = 32, .in = 64, .out = 64, .reference = 4},
      {.name = "direct", .h = 32, .w = 32, .in = 64, .out = 64, .algorithm = UNETD_CONV_DIRECT},
      {.name = "winograd_narrow",
       .h = 16,
       .w = 17,
       .in = 48,
       .out = 5,
       .segments = 1,
       .residual = true,
       .algorithm = UNETD_CONV_WINOGRAD},
      {.name = "winograd_one_pixel",
       .h = 1,
       .w = 1,
       .in = 16,
       .out = 9,
       .algorithm = UNETD_CONV_WINOGRAD},
  };
  for (const Conv& conv : kAll) {
    for (int32_t dtype : kDTypes) cases.push_back(Make(conv, dtype));
  }
}

}  // namespace unetd::test
