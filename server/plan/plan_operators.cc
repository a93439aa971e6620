// The operators of PlanBuilder: each checks its weights and records one node.
#include <fmt/format.h>

#include <cstring>

#include "server/plan/conv_policy.h"
#include "server/plan/graph.h"

namespace unetd {

Value PlanBuilder::Conv2d(const Value& x_in, const Conv2dSpec& spec) {
  if (!Usable({&x_in})) return {};
  const Value x = Whole(x_in, UNETD_MAX_SEGMENTS);
  const Value residual = Whole(spec.residual, 1);
  const int64_t in = x.channels();
  if (!graph_->CheckWeight(spec.weight, {spec.out_channels, in, spec.kernel, spec.kernel}))
    return {};
  if (spec.bias.present() && !graph_->CheckWeight(spec.bias, {spec.out_channels})) return {};
  const Size source = spec.resize.h ? spec.resize : x.size;
  const uint64_t padded_h = uint64_t{source.h} + spec.pad_top + spec.pad_bottom;
  const uint64_t padded_w = uint64_t{source.w} + spec.pad_left + spec.pad_right;
  if (padded_h < spec.kernel || padded_w < spec.kernel) {
    Fail(InvalidArgument(
        fmt::format("layer '{}': an image of {}x{} is smaller than the {}x{} kernel", graph_->layer,
                    source.h, source.w, spec.kernel, spec.kernel)));
    return {};
  }
  const Size out{static_cast<uint32_t>((padded_h - spec.kernel) / spec.stride + 1),
                 static_cast<uint32_t>((padded_w - spec.kernel) / spec.stride + 1)};
  Node node = graph_->NewNode(UNETD_OP_CONV2D, {&x, &spec.row_bias, &residual});
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_ROW_BIAS, spec.row_bias);
  graph_->Bind(node, UNETD_ARG_RESIDUAL, residual);
  node.desc.u.conv2d = {x.size.h,
                        x.size.w,
                        out.h,
                        out.w,
                        spec.kernel,
                        spec.kernel,
                        spec.stride,
                        spec.pad_top,
                        spec.pad_left,
                        spec.pad_bottom,
                        spec.pad_right,
                        spec.resize.h,
                        spec.resize.w,
                        spec.bias.present(),
                        static_cast<uint32_t>(spec.activation),
                        spec.out_scale,
                        UNETD_CONV_AUTO,
                        0,
                        0};
  if (graph_->context.conv != nullptr) {
    graph_->context.conv->Apply(spec.weight, node.desc.u.conv2d);
  }
  node.UseWeight(0, spec.weight);
  if (spec.bias.present()) node.UseWeight(1, spec.bias);
  return graph_->Finish(std::move(node), out, spec.out_channels, graph_->context.dtype);
}

Value PlanBuilder::Linear(const Value& x_in, const LinearSpec& spec) {
  if (!Usable({&x_in})) return {};
  if (spec.segments.empty() || spec.segments.size() > UNETD_MAX_WEIGHTS / 2) {
    Fail(Internal(fmt::format("layer '{}': a linear has 1 to {} weights, got {}", graph_->layer,
                              UNETD_MAX_WEIGHTS / 2, spec.segments.size())));
    return {};
  }
  const Value x = Whole(x_in, UNETD_MAX_SEGMENTS);
  const Value residual = Whole(spec.residual, 1);
  const int64_t in = x.channels();
  Node node = graph_->NewNode(UNETD_OP_LINEAR, {&x, &residual});
  unetd_linear& linear = node.desc.u.linear;
  linear.segments = static_cast<uint32_t>(spec.segments.size());
  linear.activation = static_cast<uint32_t>(spec.activation);
  linear.out_scale = spec.out_scale;
  uint32_t out = 0;
  for (uint32_t i = 0; i < linear.segments; ++i) {
    const LinearSegment& segment = spec.segments[i];
    if (!graph_->CheckWeight(segment.weight, {segment.out, in}, true)) return {};
    node.UseWeight(i, segment.weight);
    if (segment.bias.present()) {
      if (!graph_->CheckWeight(segment.bias, {segment.out})) return {};
      node.UseWeight(linear.segments + i, segment.bias);
      linear.bias_mask |= 1u << i;
    }
    linear.segment_rows[i] = segment.out;
    out += segment.out;
  }
  if (spec.activation == Activation::kGeglu) out /= 2;
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_RESIDUAL, residual);
  return graph_->Finish(std::move(node), x.size, out, graph_->context.dtype);
}

Value PlanBuilder::GroupNorm(const Value& x_in, const GroupNormSpec& spec) {
  if (!Usable({&x_in})) return {};
  const Value x = Whole(x_in, UNETD_MAX_SEGMENTS);
  const int64_t channels = x.channels();
  Node node = graph_->NewNode(UNETD_OP_GROUP_NORM, {&x, &spec.row_scale, &spec.row_shift});
  node.desc.u.group_norm = {spec.groups, spec.gamma.present(),
                            static_cast<uint32_t>(spec.activation), spec.eps};
  if (spec.gamma.present()) {
    if (!graph_->CheckWeight(spec.gamma, {channels}) || !graph_->CheckWeight(spec.beta, {channels}))
      return {};
    node.UseWeight(0, spec.gamma);
    node.UseWeight(1, spec.beta);
  }
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_ROW_SCALE, spec.row_scale);
  graph_->Bind(node, UNETD_ARG_ROW_SHIFT, spec.row_shift);
  return graph_->Finish(std::move(node), x.size, x.channels(), graph_->context.dtype);
}

Value PlanBuilder::LayerNorm(const Value& x_in, const WeightRef& gamma, const WeightRef& beta,
                             float eps) {
  if (!Usable({&x_in})) return {};
  const Value x = Whole(x_in, 1);
  const int64_t channels = x.channels();
  Node node = graph_->NewNode(UNETD_OP_LAYER_NORM, {&x});
  node.desc.u.layer_norm = {gamma.present(), eps};
  if (gamma.present()) {
    if (!graph_->CheckWeight(gamma, {channels}) || !graph_->CheckWeight(beta, {channels}))
      return {};
    node.UseWeight(0, gamma);
    node.UseWeight(1, beta);
  }
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  return graph_->Finish(std::move(node), x.size, x.channels(), graph_->context.dtype);
}

Value PlanBuilder::Attention(const Value& q_in, const Value& k_in, const Value& v_in,
                             const AttentionSpec& spec) {
  if (!Usable({&q_in, &k_in, &v_in})) return {};
  const Value q = Whole(q_in, 1);
  const Value k = Whole(k_in, 1);
  const Value v = Whole(v_in, 1);
  const Value mask = Whole(spec.mask, 1);
  Node node = graph_->NewNode(UNETD_OP_ATTENTION, {&q, &k, &v, &mask});
  unetd_attention& attention = node.desc.u.attention;
  attention = {spec.algorithm,     spec.heads,     spec.head_dim, spec.slice_size,
               spec.upcast_scores, spec.bool_mask, spec.scale,    {}};
  if (spec.op.size() >= sizeof(attention.op)) {
    Fail(InvalidArgument(fmt::format("layer '{}': attention_op is longer than {} characters",
                                     graph_->layer, sizeof(attention.op) - 1)));
    return {};
  }
  std::memcpy(attention.op, spec.op.data(), spec.op.size());
  node.backends = spec.backends;
  node.fallback_to_sdpa = spec.fallback_to_sdpa;
  node.compute = spec.compute;
  graph_->Bind(node, UNETD_ARG_SRC0, q);
  graph_->Bind(node, UNETD_ARG_KEY, k);
  graph_->Bind(node, UNETD_ARG_VALUE, v);
  graph_->Bind(node, UNETD_ARG_MASK, mask);
  return graph_->Finish(std::move(node), q.size, v.channels(), graph_->context.dtype);
}

Value PlanBuilder::Resize(const Value& x_in, uint32_t mode, Size size) {
  if (!Usable({&x_in})) return {};
  const Value x = Whole(x_in, 1);
  Node node = graph_->NewNode(UNETD_OP_RESIZE, {&x});
  node.desc.u.resize = {mode, x.size.h, x.size.w, size.h, size.w};
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  return graph_->Finish(std::move(node), size, x.channels(), x.dtype);
}

Value PlanBuilder::ResizeNearest(const Value& x, Size size) {
  return Resize(x, UNETD_RESIZE_NEAREST, size);
}

Value PlanBuilder::AveragePool2(const Value& x) {
  return Resize(x, UNETD_RESIZE_AVERAGE_2X2, {x.size.h / 2, x.size.w / 2});
}

Value PlanBuilder::BlurDown2(const Value& x) {
  return Resize(x, UNETD_RESIZE_BLUR_DOWN, {x.size.h / 2, x.size.w / 2});
}

Value PlanBuilder::BlurUp2(const Value& x) {
  return Resize(x, UNETD_RESIZE_BLUR_UP, {x.size.h * 2, x.size.w * 2});
}

Value PlanBuilder::MeanTokens(const Value& x) { return Resize(x, UNETD_RESIZE_MEAN, {1, 1}); }

void PlanBuilder::CopyTokens(const Value& x_in, const Value& whole, uint32_t first) {
  const Value x = Whole(x_in, UNETD_MAX_SEGMENTS);
  const auto tokens = static_cast<uint32_t>(x.tokens());
  // In the whole's section: a section writes its own buffers only.
  Node node = graph_->NewNode(UNETD_OP_ELEMENTWISE, {&x, &whole});
  node.desc.u.elementwise = {UNETD_ACT_NONE, 1, 0};
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_DST, SliceTokens(whole, first, tokens));
  graph_->nodes.push_back(std::move(node));
}

Value PlanBuilder::ConcatTokens(const Value& a, const Value& b) {
  if (!Usable({&a, &b})) return {};
  if (a.channels() != b.channels() || a.dtype != b.dtype) {
    Fail(Internal(fmt::format("layer '{}': tokens of {} and {} channels side by side",
                              graph_->layer, a.channels(), b.channels())));
    return {};
  }
  const Section section = graph_->NewNode(UNETD_OP_ELEMENTWISE, {&a, &b}).section;
  const auto first = static_cast<uint32_t>(a.tokens());
  const Value whole = graph_->NewValue({first + static_cast<uint32_t>(b.tokens()), 1}, a.channels(),
                                       a.dtype, section);
  CopyTokens(a, whole, 0);
  CopyTokens(b, whole, first);
  return whole;
}

Value PlanBuilder::Multiply(const Value& x, const Value& by_in) {
  if (!Usable({&x, &by_in})) return {};
  const Value by = Whole(by_in, 1);
  Node node = graph_->NewNode(UNETD_OP_ELEMENTWISE, {&x, &by});
  node.desc.u.elementwise = {UNETD_ACT_NONE, 1, 0};
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_ROW_SCALE, by);
  return graph_->Finish(std::move(node), x.size, x.channels(), graph_->context.dtype);
}

Value PlanBuilder::Elementwise(const Value& x, Activation activation, float scale, float shift,
                               const Value& residual_in, DType dtype) {
  if (!Usable({&x})) return {};
  if (x.slices.size() > UNETD_MAX_SEGMENTS) {
    Fail(Internal(fmt::format("layer '{}': a value of {} slices, at most {} can be read at once",
                              graph_->layer, x.slices.size(), UNETD_MAX_SEGMENTS)));
    return {};
  }
  const Value residual = Whole(residual_in, 1);
  Node node = graph_->NewNode(UNETD_OP_ELEMENTWISE, {&x, &residual});
  node.desc.u.elementwise = {static_cast<uint32_t>(activation), scale, shift};
  graph_->BindSegments(node, x);
  graph_->Bind(node, UNETD_ARG_RESIDUAL, residual);
  return graph_->Finish(std::move(node), x.size, x.channels(),
                        dtype == DType{0} ? graph_->context.dtype : dtype);
}

Value PlanBuilder::Sinusoid(const Value& x, uint32_t dim, bool flip_sin_to_cos, float freq_shift,
                            const WeightRef& fourier) {
  if (!Usable({&x})) return {};
  if (fourier.present() && !graph_->CheckWeight(fourier, {dim / 2})) return {};
  Node node = graph_->NewNode(UNETD_OP_SINUSOID, {&x});
  node.desc.u.sinusoid = {dim, flip_sin_to_cos, freq_shift, fourier.present()};
  if (fourier.present()) node.UseWeight(0, fourier);
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  return graph_->Finish(std::move(node), {1, 1}, static_cast<uint32_t>(x.tokens()) * dim,
                        graph_->context.dtype);
}

Value PlanBuilder::Lookup(const Value& x, const WeightRef& table, uint32_t entries,
                          uint32_t channels) {
  if (!Usable({&x})) return {};
  if (!graph_->CheckWeight(table, {entries, channels})) return {};
  Node node = graph_->NewNode(UNETD_OP_LOOKUP, {&x});
  node.desc.u.lookup = {entries};
  node.UseWeight(0, table);
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  return graph_->Finish(std::move(node), {1, 1}, channels, graph_->context.dtype);
}

Value PlanBuilder::GatherRows(const Value& x_in, uint32_t batch_size) {
  if (!Usable({&x_in})) return {};
  const Value x = Whole(x_in, 1);
  Node node = graph_->NewNode(UNETD_OP_GATHER_ROWS, {&x});
  node.desc.u.gather_rows = {batch_size};
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  return graph_->Finish(std::move(node), x.size, x.channels(), x.dtype);
}

}  // namespace unetd
