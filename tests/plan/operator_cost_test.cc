#include "server/plan/operator_cost.h"

#include "tests/plan/small_plan.h"

namespace unetd {
namespace {

using OperatorCostTest = SmallPlan;

const PlannedOp* FindOp(const Plan& plan, const std::string& text) {
  for (const auto& section : plan.sections) {
    for (const PlannedOp& op : section) {
      if (op.text.starts_with(text)) return &op;
    }
  }
  ADD_FAILURE() << "no operator " << text;
  return nullptr;
}

TEST_F(OperatorCostTest, EachOperandAndWeightCountsOnce) {
  Open(ReferenceBackend());
  const auto plan = *Build();
  const uint64_t pixels = kImage.h * kImage.w, image = pixels * 4;  // bytes of a float channel
  struct Case {
    const char* text;
    const char* kind;
    uint64_t flops, bytes, weights;
  };
  const Case cases[] = {
      // Source, bias of the row, destination; a bias among the weights.
      {"conv2d 3x3 stride 1 4 -> 8", "conv2d", 2 * pixels * 8 * (4 * 9),
       image * 4 + 8 * 4 + image * 8, (8 * 4 * 9 + 8) * 4},
      // Source, residual, destination.
      {"conv2d 3x3 stride 1 16 -> 4", "conv2d", 2 * pixels * 4 * (16 * 9),
       image * 16 + image * 4 + image * 4, 4 * 16 * 9 * 4},
      {"linear 8 -> 16", "linear", 2 * kText * 16 * 8, kText * (8 + 16) * 4, 16 * 8 * 4},
      // Two products of 2 heads; queries and keys, values and sums.
      {"attention", "attention", 4 * 2 * pixels * kText * 4, 2 * image * 8 + 2 * kText * 8 * 4, 0},
      // Two segments.
      {"group_norm", "group_norm", 0, image * 16 + image * 16, 2 * 16 * 4},
      {"sinusoid", "sinusoid", 0, 4 + kTimeChannels * 4, 0},
  };
  for (const Case& c : cases) {
    const PlannedOp* op = FindOp(*plan, c.text);
    ASSERT_NE(op, nullptr);
    EXPECT_STREQ(op->kind, c.kind) << c.text;
    EXPECT_EQ(op->cost.Flops(1), c.flops) << c.text;
    EXPECT_EQ(op->cost.Bytes(1), c.bytes + c.weights) << c.text;
    EXPECT_EQ(op->cost.Flops(3), 3 * c.flops) << c.text;
    EXPECT_EQ(op->cost.Bytes(3), 3 * c.bytes + c.weights) << c.text;
  }
}

unetd_op_desc Descriptor(uint32_t kind, unetd_view source, unetd_view destination) {
  unetd_op_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = kind;
  desc.weight_dtype = UNETD_DTYPE_BF16;
  desc.args[UNETD_ARG_SRC0] = source;
  desc.args[UNETD_ARG_DST] = destination;
  return desc;
}

TEST(OperatorCost, HalvesAndGatedLinears) {
  // Twice the columns of the output are computed, and stored in two bytes.
  auto desc =
      Descriptor(UNETD_OP_LINEAR, {10, 6, 6, UNETD_DTYPE_BF16}, {10, 5, 5, UNETD_DTYPE_F32});
  desc.u.linear = {.segments = 2,
                   .segment_rows = {4, 6},
                   .bias_mask = 2,
                   .activation = UNETD_ACT_GEGLU,
                   .out_scale = 1};
  const OperatorCost cost = CostOf(desc);
  EXPECT_EQ(cost.row_flops, 2u * 10 * (4 + 6) * 6);
  EXPECT_EQ(cost.row_bytes, 10u * 6 * 2 + 10 * 5 * 4);
  EXPECT_EQ(cost.weight_bytes, ((4u + 6) * 6 + 6) * 2);
}

TEST(OperatorCost, ATableIsReadInOneRow) {
  auto desc = Descriptor(UNETD_OP_LOOKUP, {1, 1, 1, UNETD_DTYPE_I32}, {1, 8, 8, UNETD_DTYPE_F32});
  desc.u.lookup.entries = 1000;
  const OperatorCost cost = CostOf(desc);
  EXPECT_EQ(cost.row_flops, 0u);
  EXPECT_EQ(cost.row_bytes, 4u + 8 * 4);
  EXPECT_EQ(cost.weight_bytes, 8u * 2);
}

}  // namespace
}  // namespace unetd
