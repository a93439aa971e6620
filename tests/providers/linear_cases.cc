// Linear layers: token counts round the tiles, weight segments with and without bias, GEGLU.
#include "tests/providers/cases.h"

namespace unetd::test {
namespace {

struct Linear {
  const char* name;
  uint32_t tokens, in;
  std::vector<uint32_t> rows;
  uint32_t bias_mask = 1;
  uint32_t activation = UNETD_ACT_NONE;
  uint32_t segments = 1;  // of the input
  bool row_bias = false, residual = false;
  float out_scale = 1;
  uint32_t gap = 0;
  uint32_t shift = 0;
  int32_t checkpoint = 0;  // 0: as stored
  int32_t dst = 0;         // 0: as the input
  int32_t compute = 0;     // 0: as the host asks for
};

OperatorCase Make(const Linear& c, int32_t dtype) {
  OperatorCase test =
      NewCase(std::string("linear_") + c.name + "_" + DTypeLabel(dtype), UNETD_OP_LINEAR, dtype);
  if (c.compute != 0) test.desc.compute_dtype = c.compute;
  unetd_linear& linear = test.desc.u.linear;
  linear.segments = static_cast<uint32_t>(c.rows.size());
  linear.bias_mask = c.bias_mask;
  linear.activation = c.activation;
  linear.out_scale = c.out_scale;
  uint32_t columns = 0;
  for (size_t i = 0; i < c.rows.size(); ++i) columns += linear.segment_rows[i] = c.rows[i];
  const bool geglu = c.activation == UNETD_ACT_GEGLU;
  if (geglu) columns /= 2;
  const int32_t dst = c.dst != 0 ? c.dst : dtype;
  SetSources(test, c.tokens, c.in, dtype, c.segments, c.gap);
  SetView(test, UNETD_ARG_DST, c.tokens, columns, dst, c.gap);
  if (c.row_bias) SetView(test, UNETD_ARG_ROW_BIAS, 1, columns, dtype);
  if (c.residual) SetView(test, UNETD_ARG_RESIDUAL, c.tokens, columns, dst, c.gap / 2);
  for (uint32_t arg = 0; c.shift != 0 && arg < UNETD_ARG_COUNT; ++arg) test.shift[arg] = c.shift;
  for (uint32_t i = 0; i < c.rows.size(); ++i) {
    SetWeight(test, i, {c.rows[i], c.in}, 1 / std::sqrt(c.in));
    if ((c.bias_mask >> i & 1u) != 0) SetWeight(test, linear.segments + i, {c.rows[i]}, 1);
  }
  for (auto& [index, weight] : test.weights) {
    if (c.checkpoint != 0) weight.checkpoint = c.checkpoint;
  }
  // GEGLU multiplies two such sums, each of at most about kLargest.
  Allow(test, std::fabs(c.out_scale) * SumError(c.in) * (geglu ? 2 * kLargest : 1));
  return test;
}

}  // namespace

void AddLinearCases(std::vector<OperatorCase>& cases) {
  static const Linear kAll[] = {
      {.name = "one", .tokens = 1, .in = 1, .rows = {1}},
      {.name = "vector", .tokens = 1, .in = 320, .rows = {1280}, .activation = UNETD_ACT_SILU},
      {.name = "odd", .tokens = 7, .in = 3, .rows = {5}},
      {.name = "text", .tokens = 77, .in = 768, .rows = {320, 320}, .bias_mask = 0},
      {.name = "qkv", .tokens = 65, .in = 64, .rows = {64, 64, 64}, .bias_mask = 0},
      {.name = "uneven_segments", .tokens = 33, .in = 50, .rows = {7, 41, 16}, .bias_mask = 5},
      {.name = "eight_segments",
       .tokens = 9,
       .in = 24,
       .rows = {3, 1, 8, 17, 5, 2, 30, 6},
       .bias_mask = 0xaa},
      {.name = "tall", .tokens = 200, .in = 40, .rows = {33}},
      {.name = "deep", .tokens = 17, .in = 2560, .rows = {40}},
      {.name = "wide", .tokens = 5, .in = 48, .rows = {1300}},
      {.name = "no_bias", .tokens = 12, .in = 31, .rows = {29}, .bias_mask = 0},
      {.name = "silu", .tokens = 12, .in = 32, .rows = {32}, .activation = UNETD_ACT_SILU},
      {.name = "gelu", .tokens = 12, .in = 32, .rows = {32}, .activation = UNETD_ACT_GELU},
      {.name = "mish", .tokens = 12, .in = 32, .rows = {32}, .activation = UNETD_ACT_MISH},
      {.name = "relu", .tokens = 12, .in = 32, .rows = {32}, .activation = UNETD_ACT_RELU},
      {.name = "geglu", .tokens = 64, .in = 40, .rows = {320}, .activation = UNETD_ACT_GEGLU},
      {.name = "geglu_odd", .tokens = 19, .in = 23, .rows = {74}, .activation = UNETD_ACT_GEGLU},
      {.name = "geglu_no_bias",
       .tokens = 8,
       .in = 16,
       .rows = {64},
       .bias_mask = 0,
       .activation = UNETD_ACT_GEGLU},
      {.name = "geglu_residual",
       .tokens = 8,
       .in = 16,
       .rows = {64},
       .activation = UNETD_ACT_GEGLU,
       .residual = true,
       .out_scale = 0.5f},
      {.name = "geglu_two_segments",
       .tokens = 8,
       .in = 16,
       .rows = {40, 40},
       .bias_mask = 3,
       .activation = UNETD_ACT_GEGLU},
      {.name = "residual", .tokens = 64, .in = 80, .rows = {80}, .residual = true},
      {.name = "row_bias", .tokens = 30, .in = 80, .rows = {80}, .row_bias = true},
      {.name = "out_scale", .tokens = 30, .in = 80, .rows = {80}, .out_scale = -1.5f},
      {.name = "sources2", .tokens = 30, .in = 96, .rows = {50}, .segments = 2},
      {.name = "sources3", .tokens = 11, .in = 61, .rows = {50}, .segments = 3, .gap = 3},
      {.name = "sources4", .tokens = 11, .in = 64, .rows = {48}, .segments = 4},
      {.name = "gap", .tokens = 21, .in = 32, .rows = {32}, .gap = 9},
      {.name = "unaligned",
       .tokens = 21,
       .in = 35,
       .rows = {37},
       .residual = true,
       .gap = 1,
       .shift = 1},
      {.name = "everything",
       .tokens = 43,
       .in = 90,
       .rows = {30, 41},
       .bias_mask = 2,
       .activation = UNETD_ACT_SILU,
       .segments = 2,
       .row_bias = true,
       .residual = true,
       .out_scale = 0.25f,
       .gap = 6,
       .shift = 3},
      {.name = "from_f32", .tokens = 10, .in = 40, .rows = {40}, .checkpoint = UNETD_DTYPE_F32},
      {.name = "from_bf16", .tokens = 10, .in = 40, .rows = {40}, .checkpoint = UNETD_DTYPE_BF16},
      {.name = "to_f32",
       .tokens = 10,
       .in = 40,
       .rows = {40},
       .residual = true,
       .dst = UNETD_DTYPE_F32},
  };
  for (const Linear& linear : kAll) {
    for (int32_t dtype : kDTypes) {
      // Weights are rounded to the stored dtype, so a checkpoint of bfloat16 holds only bfloat16's.
      if (linear.checkpoint == UNETD_DTYPE_BF16 && dtype != UNETD_DTYPE_BF16) continue;
      cases.push_back(Make(linear, dtype));
    }
  }
  // Products of two bfloat16 are exact in float32, so the tolerance is float32's whatever they are
  // computed in.
  cases.push_back(
      Make({.name = "in_f32", .tokens = 40, .in = 128, .rows = {96}, .compute = UNETD_DTYPE_F32},
           UNETD_DTYPE_BF16));
}

}  // namespace unetd::test
