// Convolution, by Winograd's way (winograd.h) or directly by the matrix kernel: an index map finds
// the source row of each output position and tap, so that stride, padding, nearest resize and
// channel segments cost nothing but the gathering of rows.
#include <cmath>

#include "backends/cpu/gemm.h"
#include "backends/cpu/index_map.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/pack.h"
#include "backends/cpu/winograd.h"

namespace unetd::cpu {
namespace {

constexpr uint32_t kMaxSide = 1 << 20;  // of an image or a padding
constexpr uint32_t kMaxKernel = 64;
constexpr uint64_t kMaxK = uint64_t{1} << 30;

std::string Size(uint64_t h, uint64_t w) { return std::to_string(h) + "x" + std::to_string(w); }

// Output size along one axis; -1 if the kernel does not fit.
int64_t OutSize(uint32_t in, uint32_t before, uint32_t after, uint32_t kernel, uint32_t stride) {
  const int64_t room = int64_t{in} + before + after - kernel;
  return room < 0 ? -1 : room / stride + 1;
}

Answer CheckGeometry(const unetd_op_desc& desc) {
  const unetd_conv2d& conv = desc.u.conv2d;
  for (const uint32_t side :
       {conv.in_h, conv.in_w, conv.out_h, conv.out_w, conv.pad_top, conv.pad_left, conv.pad_bottom,
        conv.pad_right, conv.resize_h, conv.resize_w, conv.reference_h, conv.reference_w}) {
    if (side > kMaxSide) return Unsupported("size " + std::to_string(side) + " is too large");
  }
  if (conv.in_h == 0 || conv.in_w == 0) {
    return Unsupported("input size is " + Size(conv.in_h, conv.in_w));
  }
  if (conv.kernel_h == 0 || conv.kernel_w == 0 || conv.kernel_h > kMaxKernel ||
      conv.kernel_w > kMaxKernel) {
    return Unsupported("kernel size is " + Size(conv.kernel_h, conv.kernel_w) +
                       ", expected 1 to 64 a side");
  }
  if (conv.stride == 0 || conv.stride > kMaxKernel) {
    return Unsupported("stride is " + std::to_string(conv.stride) + ", expected 1 to 64");
  }
  if ((conv.resize_h == 0) != (conv.resize_w == 0)) {
    return Unsupported("resize is " + Size(conv.resize_h, conv.resize_w));
  }
  if ((conv.reference_h == 0) != (conv.reference_w == 0)) {
    return Unsupported("reference size is " + Size(conv.reference_h, conv.reference_w));
  }
  const uint32_t h = conv.resize_h != 0 ? conv.resize_h : conv.in_h;
  const uint32_t w = conv.resize_w != 0 ? conv.resize_w : conv.in_w;
  const int64_t out_h = OutSize(h, conv.pad_top, conv.pad_bottom, conv.kernel_h, conv.stride);
  const int64_t out_w = OutSize(w, conv.pad_left, conv.pad_right, conv.kernel_w, conv.stride);
  if (out_h != conv.out_h || out_w != conv.out_w || out_h < 1 || out_w < 1) {
    return Unsupported("output size is " + Size(conv.out_h, conv.out_w) + ", but input " +
                       Size(h, w) + " with this kernel, stride and padding gives " +
                       std::to_string(out_h) + "x" + std::to_string(out_w));
  }
  const uint64_t in_tokens = uint64_t{conv.in_h} * conv.in_w;
  if (desc.args[UNETD_ARG_SRC0].tokens != in_tokens) {
    return Unsupported("src0 has " + std::to_string(desc.args[UNETD_ARG_SRC0].tokens) +
                       " tokens, the input size says " + std::to_string(in_tokens));
  }
  const uint64_t out_tokens = uint64_t{conv.out_h} * conv.out_w;
  if (desc.args[UNETD_ARG_DST].tokens != out_tokens) {
    return Unsupported("dst has " + std::to_string(desc.args[UNETD_ARG_DST].tokens) +
                       " tokens, the output size says " + std::to_string(out_tokens));
  }
  return Ok();
}

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_conv2d& conv = desc.u.conv2d;
  if (Answer a = CheckGemmArgs(desc); !a.ok()) return a;
  if (Answer a = CheckGeometry(desc); !a.ok()) return a;
  if (SourceChannels(desc) * conv.kernel_h * conv.kernel_w > kMaxK) {
    return Unsupported("too many input channels: " + std::to_string(SourceChannels(desc)));
  }
  if (conv.has_bias > 1) return Unsupported("has_bias is " + std::to_string(conv.has_bias));
  if (conv.activation > UNETD_ACT_RELU) {
    return Unsupported("activation " + std::to_string(conv.activation) +
                       " is not served by conv2d, expected none, silu, gelu, mish or relu");
  }
  if (!std::isfinite(conv.out_scale)) return Unsupported("out_scale is not finite");
  if (conv.algorithm > UNETD_CONV_WINOGRAD) {
    return Unsupported("algorithm is " + std::to_string(conv.algorithm) +
                       ", expected 0 (auto), 1 (direct) or 2 (winograd)");
  }
  return Ok();
}

// The direct sum's weights.
PackShape MatrixShape(const unetd_op_desc& desc, const Isa& isa) {
  PackShape shape = {};
  shape.packed_dtype = desc.weight_dtype;
  shape.bf16_pairs = MultipliesPairs(desc, isa);
  shape.rows = desc.args[UNETD_ARG_DST].channels;
  shape.channels = static_cast<uint32_t>(SourceChannels(desc));
  shape.taps = desc.u.conv2d.kernel_h * desc.u.conv2d.kernel_w;
  return shape;
}

Answer PackRecipe(const unetd_op_desc& desc, const Isa& isa, uint32_t weight,
                  unetd_recipe* recipe) {
  const unetd_conv2d& conv = desc.u.conv2d;
  const uint32_t out = desc.args[UNETD_ARG_DST].channels;
  if (weight == 0 && WinogradSize(desc) != 0) return WinogradRecipe(desc, isa, recipe);
  if (weight == 0) {
    return MatrixRecipe(isa, MatrixShape(desc, isa), recipe);
  }
  if (weight == 1 && conv.has_bias != 0) return BiasRecipe(isa, out, false, recipe);
  return Invalid("conv2d has no weight " + std::to_string(weight));
}

Answer Pack(const PackJob& job) {
  const unetd_conv2d& conv = job.desc.u.conv2d;
  const uint32_t out = job.desc.args[UNETD_ARG_DST].channels;
  const uint32_t in = static_cast<uint32_t>(SourceChannels(job.desc));
  if (job.weight == 0) {
    const uint64_t dims[] = {out, in, conv.kernel_h, conv.kernel_w};
    if (Answer a = CheckSource(job.source, "conv2d weight", 4, dims); !a.ok()) return a;
    if (WinogradSize(job.desc) != 0) return PackWinograd(job);
    return PackMatrix(job, MatrixShape(job.desc, job.isa));
  }
  const uint64_t dims[] = {out};
  if (Answer a = CheckSource(job.source, "conv2d bias", 1, dims); !a.ok()) return a;
  return PackBias(job, out, false);
}

// [o * kernel + tap] -> source index along one axis, or -1 in the padding.
std::vector<int32_t> AxisMap(uint32_t in, uint32_t resized, uint32_t out, uint32_t kernel,
                             uint32_t stride, uint32_t pad) {
  const uint32_t size = resized != 0 ? resized : in;
  std::vector<int32_t> map;
  map.reserve(uint64_t{out} * kernel);
  for (uint32_t o = 0; o < out; ++o) {
    for (uint32_t tap = 0; tap < kernel; ++tap) {
      const int64_t i = int64_t{o} * stride + tap - pad;
      const bool inside = i >= 0 && i < size;
      map.push_back(inside ? static_cast<int32_t>(NearestSource(static_cast<uint32_t>(i), in, size))
                           : -1);
    }
  }
  return map;
}

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  const unetd_conv2d& conv = desc.u.conv2d;
  if (const uint32_t size = WinogradSize(desc); size != 0) {
    // Every padded coordinate that some tile reads.
    const auto lines = [&](uint32_t out) { return (out + size - 1) / size * size + 2; };
    *kernel = std::make_unique<WinogradKernel>(
        desc, isa, AxisMap(conv.in_h, conv.resize_h, lines(conv.out_h), 1, 1, conv.pad_top),
        AxisMap(conv.in_w, conv.resize_w, lines(conv.out_w), 1, 1, conv.pad_left));
    return Ok();
  }
  GemmPlan plan = PlanFromArgs(desc, conv.activation, conv.out_scale);
  plan.kernel_h = conv.kernel_h;
  plan.kernel_w = conv.kernel_w;
  plan.in_w = conv.in_w;
  plan.out_w = conv.out_w;
  AddPart(isa, 0, conv.has_bias != 0 ? 1 : -1, desc.args[UNETD_ARG_DST].channels, false, &plan);
  const bool pointwise = conv.kernel_h == 1 && conv.kernel_w == 1 && conv.stride == 1 &&
                         conv.resize_h == 0 && conv.out_h == conv.in_h && conv.out_w == conv.in_w;
  std::vector<int32_t> y_map, x_map;
  if (!pointwise) {
    y_map = AxisMap(conv.in_h, conv.resize_h, conv.out_h, conv.kernel_h, conv.stride, conv.pad_top);
    x_map =
        AxisMap(conv.in_w, conv.resize_w, conv.out_w, conv.kernel_w, conv.stride, conv.pad_left);
  }
  *kernel = std::make_unique<GemmKernel>(isa, MultipliesPairs(desc, isa), plan, std::move(y_map),
                                         std::move(x_map));
  return Ok();
}

}  // namespace

const OpEntry kConv2dOp = {UNETD_OP_CONV2D, "conv2d", Supports, PackRecipe, Pack, Make};

}  // namespace unetd::cpu
