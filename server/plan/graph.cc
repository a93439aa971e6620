#include "server/plan/graph.h"

#include <fmt/format.h>

#include <algorithm>

namespace unetd {

Value Concat(const Value& a, const Value& b) {
  if (!a.present()) return b;
  if (!b.present()) return a;
  Value out = a;
  for (const ChannelSlice& slice : b.slices) {
    ChannelSlice& last = out.slices.back();
    if (slice.storage == last.storage && slice.first == last.first + last.channels &&
        slice.stride == last.stride) {
      last.channels += slice.channels;
    } else {
      out.slices.push_back(slice);
    }
  }
  return out;
}

Value SliceChannels(const Value& value, uint32_t first, uint32_t channels) {
  Value out = value;
  out.slices.clear();
  uint32_t begin = 0;
  for (const ChannelSlice& slice : value.slices) {
    const uint32_t lo = std::max(begin, first);
    const uint32_t hi = std::min(begin + slice.channels, first + channels);
    if (lo < hi) {
      out.slices.push_back({slice.storage, slice.first + (lo - begin), hi - lo, slice.stride});
    }
    begin += slice.channels;
  }
  return out;
}

Value SliceTokens(const Value& value, uint32_t first, uint32_t tokens) {
  Value out = value;
  out.size = {tokens, 1};
  for (ChannelSlice& slice : out.slices) slice.first += first * slice.stride;
  return out;
}

Value SplitTokens(const Value& value, uint32_t tokens) {
  Value out = value;
  out.size = {tokens, 1};
  for (ChannelSlice& slice : out.slices) slice.stride = slice.channels /= tokens;
  return out;
}

Value PlanBuilder::Graph::NewValue(Size size, uint32_t channels, DType dtype, Section section) {
  Value value;
  value.size = size;
  value.dtype = dtype;
  const int storage = AddStorage({StorageKind::kResult, value.tokens(), channels, dtype, section});
  value.slices.push_back({storage, 0, channels, channels});
  return value;
}

void PlanBuilder::Graph::Bind(Node& node, int arg, const Value& value) const {
  if (!value.present()) return;
  const ChannelSlice& slice = value.slices.front();
  node.operands[arg] = {slice.storage, slice.first};
  node.desc.args[arg] = {value.tokens(), slice.stride, slice.channels,
                         static_cast<int32_t>(storages[slice.storage].dtype)};
}

Node PlanBuilder::Graph::NewNode(uint32_t kind, std::initializer_list<const Value*> inputs) const {
  Node node;
  node.desc.struct_size = sizeof(unetd_op_desc);
  node.desc.kind = kind;
  node.desc.weight_dtype = static_cast<int32_t>(context.dtype);
  const bool multiplies =
      kind == UNETD_OP_CONV2D || kind == UNETD_OP_LINEAR || kind == UNETD_OP_ATTENTION;
  node.desc.compute_dtype =
      multiplies && context.dtype == DType::kBFloat16 ? UNETD_DTYPE_BF16 : UNETD_DTYPE_F32;
  node.desc.sum_dtype = UNETD_DTYPE_F32;
  node.layer = layer;
  node.section = Section::kCondition;
  for (const Value* input : inputs) {
    for (const ChannelSlice& slice : input->slices) {
      node.section = std::max(node.section, storages[slice.storage].section);
    }
  }
  return node;
}

bool PlanBuilder::Graph::CheckWeight(const WeightRef& ref, const Shape& shape, bool ones) {
  if (!status.ok()) return false;
  const WeightStore* store = ref.store ? ref.store : context.weights;
  const TensorView* tensor = store->Find(ref.name);
  if (tensor == nullptr) {
    status = InvalidArgument(fmt::format("{}: missing tensor '{}', expected {}",
                                         store->FileOf(ref.name), ref.name, ShapeText(shape)));
    return false;
  }
  const auto comparable = [ones](Shape dims) {
    if (ones) std::erase(dims, 1);
    return dims;
  };
  if (comparable(tensor->shape) != comparable(shape)) {
    status = InvalidArgument(fmt::format("{}: tensor '{}' has shape {}, expected {}",
                                         store->FileOf(ref.name), ref.name,
                                         ShapeText(tensor->shape), ShapeText(shape)));
    return false;
  }
  if (!IsFloat(tensor->dtype) || tensor->dtype == DType::kFloat64) {
    status =
        InvalidArgument(fmt::format("{}: tensor '{}' is {}, expected float32, float16 or bfloat16",
                                    store->FileOf(ref.name), ref.name, TorchName(tensor->dtype)));
    return false;
  }
  if (store == context.weights) weights_used.push_back(ref.name);
  return true;
}

Value PlanBuilder::Graph::Finish(Node node, Size size, uint32_t channels, DType dtype) {
  const Value out = NewValue(size, channels, dtype, node.section);
  Bind(node, UNETD_ARG_DST, out);
  nodes.push_back(std::move(node));
  return out;
}

void PlanBuilder::Graph::BindSegments(Node& node, const Value& x) const {
  for (size_t i = 0; i < x.slices.size(); ++i) {
    Value one = x;
    one.slices = {x.slices[i]};
    Bind(node, UNETD_ARG_SRC0 + static_cast<int>(i), one);
  }
}

const char* OpKindName(uint32_t kind) {
  static constexpr const char* kNames[] = {
      "?",           "conv2d",      "linear", "group_norm", "layer_norm", "attention", "resize",
      "gather_rows", "elementwise", "layout", "copy",       "sinusoid",   "lookup"};
  return kind < std::size(kNames) ? kNames[kind] : kNames[0];
}

std::string DescriptorText(const unetd_op_desc& desc) {
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  uint64_t in = 0;
  for (int i = 0; i < UNETD_MAX_SEGMENTS; ++i)
    in += desc.args[i].tokens ? desc.args[i].channels : 0;
  std::string text = OpKindName(desc.kind);
  switch (desc.kind) {
    case UNETD_OP_CONV2D: {
      const unetd_conv2d& c = desc.u.conv2d;
      text += fmt::format(" {}x{} stride {} {} -> {} at {}x{}", c.kernel_h, c.kernel_w, c.stride,
                          in, dst.channels, c.out_h, c.out_w);
      if (c.resize_h) text += fmt::format(" resized to {}x{}", c.resize_h, c.resize_w);
      break;
    }
    case UNETD_OP_ATTENTION: {
      const unetd_attention& a = desc.u.attention;
      static constexpr const char* kAlgorithms[] = {
          "?", "math", "sdpa", "sliced", "memory_efficient", "npu"};
      text += fmt::format(" {} heads {} head_dim {} Q {} K {}",
                          kAlgorithms[std::min(a.algorithm, 5u) % 6], a.heads, a.head_dim,
                          desc.args[0].tokens, desc.args[UNETD_ARG_KEY].tokens);
      break;
    }
    default:
      text += fmt::format(" {} -> {} at {} tokens", in, dst.channels, dst.tokens);
  }
  return text;
}

}  // namespace unetd
