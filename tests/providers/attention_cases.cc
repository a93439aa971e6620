// Attention: every algorithm, head sizes 1 to 160, lengths round the tiles, masks.
#include "tests/providers/cases.h"

namespace unetd::test {
namespace {

enum class Mask { kNone, kShared, kEach, kBool, kEverything };

struct Attention {
  const char* name;
  uint32_t queries, keys, heads, head_dim;
  Mask mask = Mask::kNone;
  float scale = 0;     // 0: 1 / sqrt(head_dim)
  bool fused = false;  // key and value lie in one buffer with their like
  uint32_t upcast = 0;
  uint32_t shift = 0;
  double spread = 1;  // deviation of queries and keys
};

struct Algorithm {
  const char* name;
  uint32_t algorithm;
  uint32_t slice_size;
};

constexpr float kDrop = -10000.0f;

void FillMask(OperatorCase& test, Mask mask) {
  const unetd_view view = test.desc.args[UNETD_ARG_MASK];
  test.fill[UNETD_ARG_MASK] = [view, mask](uint32_t row) {
    Random random(40 + row);
    std::vector<float> values(view.tokens * view.channels);
    for (size_t i = 0; i < values.size(); ++i) {
      const bool drop = random.Next() % 3 == 0 && i % view.channels != 0;  // one key stays
      switch (mask) {
        case Mask::kEach:
          values[i] = drop ? kDrop : random.Normal();
          break;
        case Mask::kEverything:
          values[i] = kDrop;
          break;
        default:
          values[i] = drop ? kDrop : 0.0f;
      }
    }
    return values;
  };
}

OperatorCase Make(const Attention& c, const Algorithm& a, int32_t dtype) {
  OperatorCase test =
      NewCase(std::string("attention_") + a.name + "_" + c.name + "_" + DTypeLabel(dtype),
              UNETD_OP_ATTENTION, dtype);
  test.desc.weight_dtype = UNETD_DTYPE_NONE;
  unetd_attention& attention = test.desc.u.attention;
  attention.algorithm = a.algorithm;
  attention.heads = c.heads;
  attention.head_dim = c.head_dim;
  attention.slice_size = a.slice_size;
  attention.upcast_scores = c.upcast;
  attention.bool_mask = c.mask == Mask::kBool ? 1 : 0;
  attention.scale = c.scale != 0 ? c.scale : static_cast<float>(1 / std::sqrt(c.head_dim));
  const uint32_t channels = c.heads * c.head_dim;
  const uint64_t gap = c.fused ? 2 * channels : 0;
  SetView(test, UNETD_ARG_SRC0, c.queries, channels, dtype, gap);
  SetView(test, UNETD_ARG_KEY, c.keys, channels, dtype, gap);
  SetView(test, UNETD_ARG_VALUE, c.keys, channels, dtype, gap);
  SetView(test, UNETD_ARG_DST, c.queries, channels, dtype);
  if (c.mask != Mask::kNone) {
    const bool each = c.mask == Mask::kEach;
    SetView(test, UNETD_ARG_MASK, each ? c.queries : 1, static_cast<uint32_t>(c.keys),
            UNETD_DTYPE_F32);
    FillMask(test, c.mask);
  }
  for (uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY}) {
    if (c.spread == 1) continue;
    const unetd_view view = test.desc.args[arg];
    test.fill[arg] = [view, arg, spread = c.spread](uint32_t row) {
      Random random(700 + 10 * arg + row);
      std::vector<float> values(view.tokens * view.channels);
      for (float& value : values) value = Rounded(view.dtype, random.Normal(0, spread));
      return values;
    };
  }
  for (uint32_t arg = 0; c.shift != 0 && arg < UNETD_ARG_COUNT; ++arg) test.shift[arg] = c.shift;
  // A score carries the error of its sum and of being rounded beside its mask; exp turns that into
  // a relative error of each weight, and the weights' sum has it again; values reach kLargest. A
  // weighted mean's own sum has size 1.
  const double deviation = c.spread * c.spread * std::sqrt(c.head_dim) * std::fabs(attention.scale);
  const double score = kU32 * (8 + std::sqrt(c.head_dim)) * (1 + deviation * kLargest) +
                       (c.mask == Mask::kEverything ? kU32 * -2 * kDrop : 0);
  // sdpa of bfloat16 may round its weights to it.
  const bool rounds =
      a.algorithm == UNETD_ATTENTION_SDPA && test.desc.compute_dtype == UNETD_DTYPE_BF16;
  const double weights = rounds ? kLargest * UnitRoundoff(UNETD_DTYPE_BF16) : 0;
  Allow(test, 2 * kLargest * score + kU32 * (16 + 4 * std::sqrt(c.keys)) + weights);
  return test;
}

}  // namespace

void AddAttentionCases(std::vector<OperatorCase>& cases) {
  static const Attention kShapes[] = {
      {.name = "1x1", .queries = 1, .keys = 1, .heads = 1, .head_dim = 1},
      {.name = "d1", .queries = 5, .keys = 9, .heads = 3, .head_dim = 1},
      {.name = "d8", .queries = 16, .keys = 16, .heads = 2, .head_dim = 8},
      {.name = "d20", .queries = 17, .keys = 31, .heads = 2, .head_dim = 20},
      {.name = "d33", .queries = 33, .keys = 65, .heads = 2, .head_dim = 33},
      {.name = "d40", .queries = 130, .keys = 130, .heads = 2, .head_dim = 40, .fused = true},
      {.name = "d64", .queries = 64, .keys = 64, .heads = 3, .head_dim = 64, .fused = true},
      {.name = "d80", .queries = 40, .keys = 77, .heads = 2, .head_dim = 80},
      {.name = "d128", .queries = 20, .keys = 100, .heads = 1, .head_dim = 128},
      {.name = "d160", .queries = 66, .keys = 77, .heads = 2, .head_dim = 160},
      {.name = "one_query", .queries = 1, .keys = 77, .heads = 4, .head_dim = 16},
      {.name = "one_key", .queries = 20, .keys = 1, .heads = 4, .head_dim = 16},
      {.name = "long", .queries = 70, .keys = 1100, .heads = 1, .head_dim = 40},
      {.name = "mask",
       .queries = 30,
       .keys = 77,
       .heads = 2,
       .head_dim = 40,
       .mask = Mask::kShared},
      {.name = "mask_each",
       .queries = 30,
       .keys = 50,
       .heads = 2,
       .head_dim = 40,
       .mask = Mask::kEach},
      {.name = "mask_bool",
       .queries = 30,
       .keys = 77,
       .heads = 2,
       .head_dim = 40,
       .mask = Mask::kBool},
      {.name = "mask_long",
       .queries = 20,
       .keys = 700,
       .heads = 1,
       .head_dim = 24,
       .mask = Mask::kEach},
      {.name = "mask_everything",
       .queries = 9,
       .keys = 20,
       .heads = 1,
       .head_dim = 8,
       .mask = Mask::kEverything},
      {.name = "scale", .queries = 30, .keys = 30, .heads = 2, .head_dim = 32, .scale = 0.3f},
      {.name = "steep", .queries = 30, .keys = 90, .heads = 2, .head_dim = 40, .spread = 4},
      {.name = "upcast",
       .queries = 30,
       .keys = 40,
       .heads = 2,
       .head_dim = 40,
       .mask = Mask::kShared,
       .upcast = 1},
      {.name = "unaligned",
       .queries = 19,
       .keys = 21,
       .heads = 3,
       .head_dim = 5,
       .mask = Mask::kEach,
       .shift = 1},
  };
  static const Algorithm kAlgorithms[] = {
      {"math", UNETD_ATTENTION_MATH, 0},
      {"sdpa", UNETD_ATTENTION_SDPA, 0},
      {"sliced1", UNETD_ATTENTION_SLICED, 1},
      {"sliced2", UNETD_ATTENTION_SLICED, 2},
      {"memory_efficient", UNETD_ATTENTION_MEMORY_EFFICIENT, 0},
  };
  for (const Algorithm& algorithm : kAlgorithms) {
    for (const Attention& shape : kShapes) {
      if (algorithm.slice_size > shape.heads) continue;
      for (int32_t dtype : kDTypes) cases.push_back(Make(shape, algorithm, dtype));
    }
  }
  // A slice that covers more than all heads, and one that does not divide them.
  static const Attention kThree = {
      .name = "three_heads", .queries = 20, .keys = 30, .heads = 3, .head_dim = 16};
  cases.push_back(Make(kThree, {"sliced2", UNETD_ATTENTION_SLICED, 2}, UNETD_DTYPE_F32));
  cases.push_back(Make(kThree, {"sliced9", UNETD_ATTENTION_SLICED, 9}, UNETD_DTYPE_F32));
}

}  // namespace unetd::test
