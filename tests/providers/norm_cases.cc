// Group and layer norms, with means that are large beside the deviation (where a one-pass variance
// breaks down).
#include "tests/providers/cases.h"

namespace unetd::test {
namespace {

struct Norm {
  const char* name;
  uint32_t tokens, channels;
  uint32_t groups;  // 0: layer norm
  uint32_t affine = 1;
  uint32_t activation = UNETD_ACT_NONE;
  uint32_t segments = 1;
  bool row_scale = false, row_shift = false, stats_in = false;
  float eps = 1e-5f;
  double mean = 0;
  uint32_t gap = 0;
  uint32_t shift = 0;
};

// Values round `mean`; the same as OperatorCase::Input otherwise.
void FillRound(OperatorCase& test, uint32_t arg, double mean) {
  const unetd_view view = test.desc.args[arg];
  test.fill[arg] = [view, arg, mean](uint32_t row) {
    Random random(900 + 31 * arg + row);
    std::vector<float> values(view.tokens * view.channels);
    for (float& value : values) value = Rounded(view.dtype, random.Normal(mean));
    return values;
  };
}

void FillStats(OperatorCase& test, uint32_t groups) {
  test.fill[UNETD_ARG_STATS_IN] = [groups](uint32_t row) {
    Random random(500 + row);
    std::vector<float> values;
    for (uint32_t i = 0; i < groups; ++i) {
      values.push_back(random.Normal(0, 0.1));
      values.push_back(static_cast<float>(0.5 + random.Uniform()));
    }
    return values;
  };
}

OperatorCase Make(const Norm& c, int32_t dtype) {
  const bool layer = c.groups == 0;
  OperatorCase test =
      NewCase(std::string(layer ? "layer_norm_" : "group_norm_") + c.name + "_" + DTypeLabel(dtype),
              layer ? UNETD_OP_LAYER_NORM : UNETD_OP_GROUP_NORM, dtype);
  if (layer) {
    test.desc.u.layer_norm = {c.affine, c.eps};
  } else {
    test.desc.u.group_norm = {c.groups, c.affine, c.activation, c.eps};
  }
  SetSources(test, c.tokens, c.channels, dtype, c.segments, c.gap);
  for (uint32_t arg = 0; c.mean != 0 && arg < c.segments; ++arg) FillRound(test, arg, c.mean);
  SetView(test, UNETD_ARG_DST, c.tokens, c.channels, dtype, c.gap);
  if (c.row_scale) SetView(test, UNETD_ARG_ROW_SCALE, 1, c.channels, dtype);
  if (c.row_shift) SetView(test, UNETD_ARG_ROW_SHIFT, 1, c.channels, dtype);
  if (c.stats_in) {
    SetView(test, UNETD_ARG_STATS_IN, c.groups, 2, UNETD_DTYPE_F32);
    FillStats(test, c.groups);
  }
  for (uint32_t arg = 0; c.shift != 0 && arg < UNETD_ARG_COUNT; ++arg) test.shift[arg] = c.shift;
  if (c.affine != 0) {
    SetWeight(test, 0, {c.channels}, 0.3, 1);
    SetWeight(test, 1, {c.channels}, 1);
  }
  // The mean of N values of size |m| + 1 carries their sum's error, the deviation m / s times that;
  // normalised values reach kLargest, gamma 3, and 1 + row_scale 7.
  const double count = double{1} * c.tokens * c.channels / (layer ? c.tokens : c.groups);
  const double amplified =
      (1 + std::fabs(c.mean)) * (c.row_scale ? 7 : 1) * (c.affine != 0 ? 3 : 1);
  Allow(test, kU32 * (64 + 4 * std::sqrt(count)) * amplified);
  return test;
}

}  // namespace

void AddNormCases(std::vector<OperatorCase>& cases) {
  static const Norm kAll[] = {
      {.name = "32_groups", .tokens = 64, .channels = 320, .groups = 32},
      {.name = "silu", .tokens = 256, .channels = 64, .groups = 32, .activation = UNETD_ACT_SILU},
      {.name = "gelu", .tokens = 30, .channels = 16, .groups = 4, .activation = UNETD_ACT_GELU},
      {.name = "mish", .tokens = 30, .channels = 16, .groups = 4, .activation = UNETD_ACT_MISH},
      {.name = "relu", .tokens = 30, .channels = 16, .groups = 4, .activation = UNETD_ACT_RELU},
      {.name = "one_group", .tokens = 63, .channels = 48, .groups = 1},
      {.name = "a_group_a_channel", .tokens = 63, .channels = 48, .groups = 48},
      {.name = "odd_groups", .tokens = 35, .channels = 57, .groups = 3},
      {.name = "one_token", .tokens = 1, .channels = 96, .groups = 32},
      {.name = "many_tokens", .tokens = 2304, .channels = 40, .groups = 8},
      {.name = "no_affine", .tokens = 50, .channels = 64, .groups = 32, .affine = 0},
      {.name = "large_mean", .tokens = 300, .channels = 64, .groups = 16, .mean = 20},
      {.name = "large_eps", .tokens = 50, .channels = 64, .groups = 32, .eps = 0.5f},
      {.name = "segments2",
       .tokens = 50,
       .channels = 96,
       .groups = 32,
       .activation = UNETD_ACT_SILU,
       .segments = 2},
      // The segments' borders cut through groups.
      {.name = "segments3", .tokens = 21, .channels = 72, .groups = 4, .segments = 3, .gap = 3},
      {.name = "segments4", .tokens = 50, .channels = 128, .groups = 32, .segments = 4},
      {.name = "row_scale_shift",
       .tokens = 50,
       .channels = 64,
       .groups = 32,
       .activation = UNETD_ACT_SILU,
       .row_scale = true,
       .row_shift = true},
      {.name = "row_scale", .tokens = 20, .channels = 64, .groups = 32, .row_scale = true},
      {.name = "row_shift", .tokens = 20, .channels = 64, .groups = 32, .row_shift = true},
      {.name = "stats_in", .tokens = 50, .channels = 64, .groups = 32, .stats_in = true},
      {.name = "unaligned", .tokens = 23, .channels = 30, .groups = 6, .gap = 1, .shift = 1},
      {.name = "everything",
       .tokens = 77,
       .channels = 90,
       .groups = 9,
       .activation = UNETD_ACT_SILU,
       .segments = 2,
       .row_scale = true,
       .row_shift = true,
       .mean = 3,
       .gap = 5,
       .shift = 3},
      {.name = "320", .tokens = 64, .channels = 320, .groups = 0},
      {.name = "odd", .tokens = 7, .channels = 33, .groups = 0},
      {.name = "one_channel", .tokens = 7, .channels = 1, .groups = 0},
      {.name = "one_token", .tokens = 1, .channels = 768, .groups = 0},
      {.name = "no_affine", .tokens = 50, .channels = 40, .groups = 0, .affine = 0},
      {.name = "large_mean", .tokens = 60, .channels = 640, .groups = 0, .mean = 20},
      {.name = "unaligned", .tokens = 23, .channels = 30, .groups = 0, .gap = 1, .shift = 1},
      {.name = "gap", .tokens = 23, .channels = 64, .groups = 0, .gap = 17},
  };
  for (const Norm& norm : kAll) {
    for (int32_t dtype : kDTypes) cases.push_back(Make(norm, dtype));
  }
}

}  // namespace unetd::test
