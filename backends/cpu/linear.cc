// Linear by the matrix kernel: a convolution of one tap whose weights may come in several segments.
#include <cmath>

#include "backends/cpu/gemm.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/pack.h"

namespace unetd::cpu {
namespace {

constexpr uint64_t kMaxK = uint64_t{1} << 30;

bool IsPaired(const unetd_op_desc& desc) { return desc.u.linear.activation == UNETD_ACT_GEGLU; }

// Of a segment with `rows` outputs.
PackShape MatrixShape(const unetd_op_desc& desc, const Isa& isa, uint32_t rows) {
  PackShape shape = {};
  shape.packed_dtype = desc.weight_dtype;
  shape.bf16_pairs = MultipliesPairs(desc, isa);
  shape.rows = rows;
  shape.channels = static_cast<uint32_t>(SourceChannels(desc));
  shape.taps = 1;
  shape.paired = IsPaired(desc);
  return shape;
}

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_linear& linear = desc.u.linear;
  if (Answer a = CheckGemmArgs(desc); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  if (src.tokens != dst.tokens) {
    return Unsupported("src0 has " + std::to_string(src.tokens) + " tokens, dst has " +
                       std::to_string(dst.tokens));
  }
  if (SourceChannels(desc) > kMaxK) return Unsupported("too many input channels");
  if (linear.segments == 0 || linear.segments > UNETD_MAX_WEIGHTS / 2) {
    return Unsupported("segments is " + std::to_string(linear.segments) + ", expected 1 to " +
                       std::to_string(UNETD_MAX_WEIGHTS / 2));
  }
  uint64_t columns = 0;
  for (uint32_t i = 0; i < linear.segments; ++i) {
    if (linear.segment_rows[i] == 0) {
      return Unsupported("segment_rows[" + std::to_string(i) + "] is 0");
    }
    columns += linear.segment_rows[i];
  }
  if (linear.activation > UNETD_ACT_GEGLU) {
    return Unsupported("activation " + std::to_string(linear.activation) + " is unknown");
  }
  if (IsPaired(desc)) {
    if (linear.segments != 1) return Unsupported("geglu is served for one segment only");
    if (columns % 2 != 0) {
      return Unsupported("geglu needs an even number of rows, segment_rows[0] is " +
                         std::to_string(columns));
    }
    if (Present(desc.args[UNETD_ARG_ROW_BIAS])) {
      return Unsupported("row_bias is not served with geglu");
    }
    columns /= 2;
  }
  if (columns != dst.channels) {
    return Unsupported("dst has " + std::to_string(dst.channels) + " channels, the segments give " +
                       std::to_string(columns));
  }
  if (linear.bias_mask >> linear.segments != 0) {
    return Unsupported("bias_mask has bits beyond the segments");
  }
  if (!std::isfinite(linear.out_scale)) return Unsupported("out_scale is not finite");
  return Ok();
}

// Which segment `weight` belongs to, and whether it is its bias.
Answer FindSegment(const unetd_linear& linear, uint32_t weight, uint32_t* segment, bool* is_bias) {
  *is_bias = weight >= linear.segments;
  *segment = *is_bias ? weight - linear.segments : weight;
  if (*segment >= linear.segments || (*is_bias && !(linear.bias_mask >> *segment & 1))) {
    return Invalid("linear has no weight " + std::to_string(weight));
  }
  return Ok();
}

Answer PackRecipe(const unetd_op_desc& desc, const Isa& isa, uint32_t weight,
                  unetd_recipe* recipe) {
  uint32_t segment;
  bool is_bias;
  if (Answer a = FindSegment(desc.u.linear, weight, &segment, &is_bias); !a.ok()) return a;
  const uint32_t rows = desc.u.linear.segment_rows[segment];
  if (is_bias) return BiasRecipe(isa, rows, IsPaired(desc), recipe);
  return MatrixRecipe(isa, MatrixShape(desc, isa, rows), recipe);
}

Answer Pack(const PackJob& job) {
  uint32_t segment;
  bool is_bias;
  if (Answer a = FindSegment(job.desc.u.linear, job.weight, &segment, &is_bias); !a.ok()) return a;
  const uint32_t rows = job.desc.u.linear.segment_rows[segment];
  const uint32_t in = static_cast<uint32_t>(SourceChannels(job.desc));
  const uint64_t dims[] = {rows, in};
  const std::string which = " of segment " + std::to_string(segment);
  if (is_bias) {
    if (Answer a = CheckSource(job.source, ("linear bias" + which).c_str(), 1, dims); !a.ok()) {
      return a;
    }
    return PackBias(job, rows, IsPaired(job.desc));
  }
  if (Answer a = CheckSource(job.source, ("linear weight" + which).c_str(), 2, dims); !a.ok()) {
    return a;
  }
  return PackMatrix(job, MatrixShape(job.desc, job.isa, rows));
}

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  const unetd_linear& linear = desc.u.linear;
  GemmPlan plan = PlanFromArgs(desc, linear.activation, linear.out_scale);
  for (uint32_t i = 0; i < linear.segments; ++i) {
    const bool has_bias = linear.bias_mask >> i & 1;
    AddPart(isa, i, has_bias ? static_cast<int32_t>(linear.segments + i) : -1,
            linear.segment_rows[i], IsPaired(desc), &plan);
  }
  *kernel = std::make_unique<GemmKernel>(isa, MultipliesPairs(desc, isa), plan,
                                         std::vector<int32_t>(), std::vector<int32_t>());
  return Ok();
}

}  // namespace

const OpEntry kLinearOp = {UNETD_OP_LINEAR, "linear", Supports, PackRecipe, Pack, Make};

}  // namespace unetd::cpu
