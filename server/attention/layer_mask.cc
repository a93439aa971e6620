#include "server/attention/layer_mask.h"

#include "server/attention/binding.h"
#include "server/attention/processor_table.h"
#include "server/base/text.h"

namespace unetd {
namespace {

// Far below any score, far from overflow.
constexpr float kDrop = -1e30f;
// A bias of (1 - mask) * -10000 that is not zero is at least 6e-4; times this it is above 1.
constexpr float kLarge = 1e8f;

Value Float(PlanBuilder& builder, const Value& x, Activation activation, float scale, float shift,
            const Value& residual = {}) {
  return builder.Elementwise(x, activation, scale, shift, residual, DType::kFloat32);
}

// [1, n] zeros, made of `like` [1, m].
Value Zeros(PlanBuilder& builder, const Value& like, uint32_t n) {
  Value zeros = Float(builder, like, Activation::kNone, 0, 0);
  while (zeros.present() && zeros.channels() < n) {
    const Value two = Concat(zeros, zeros);
    zeros = Float(builder, Concat(two, two), Activation::kNone, 1, 0);
  }
  return SliceChannels(zeros, 0, n);
}

// 1 where the bias is zero, else 0.
Value IsZero(PlanBuilder& builder, const Value& bias) {
  const Value positive = Float(builder, bias, Activation::kRelu, kLarge, 0);
  const Value size = Float(builder, bias, Activation::kRelu, -kLarge, 0, positive);
  return Float(builder, size, Activation::kRelu, -1, 1);
}

// A key and value of zeros before all others, half as far down as what is dropped: where everything
// is dropped the result is 0, as torch has it.
void AddNullKey(PlanBuilder& builder, Streams& streams) {
  for (Value* stream : {&streams.k, &streams.v}) {
    const Value zero =
        builder.Elementwise(SliceTokens(*stream, 0, 1), Activation::kNone, 0, 0, {}, stream->dtype);
    *stream = builder.ConcatTokens(zero, *stream);
  }
}

}  // namespace

Value EmitLayerMask(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& mask, uint64_t queries, const Value& text, Streams& streams) {
  if (!builder.status().ok() || !mask.present()) return {};
  const ProcessorRow& row = *binding.processor;
  const uint64_t keys = streams.k.tokens();
  const uint64_t expected = row.Has(kMaskOfImage) || !text.present() ? queries : text.tokens();
  const uint64_t given = mask.channels();
  // What is not of the expected length gets zeros of that length behind it.
  const uint64_t length = given == expected ? given : given + expected;
  if (length != keys) {
    builder.Fail(InvalidArgument(Format(
        "layer '{}': a mask of {} values becomes one of {} in {}, and the layer has {} keys: "
        "diffusers fails here, too",
        layer.name, given, length, row.name, keys)));
    return {};
  }
  if (row.Has(kMaskNotExpanded) && queries != 1) {
    builder.Fail(InvalidArgument(
        Format("layer '{}': {} takes no mask: it hands xFormers the bias of one query for {}, "
               "which xFormers refuses",
               layer.name, row.name, queries)));
    return {};
  }
  Value bias = mask;
  if (length != given) {
    bias = Concat(bias, Zeros(builder, mask, static_cast<uint32_t>(expected)));
  }
  if (!row.Has(kMaskIsBool)) return bias;
  const Value keep = IsZero(builder, bias);
  // On an NPU, so in half precision, diffusers' mask is the right way round.
  const bool npu = binding.algorithm == UNETD_ATTENTION_NPU;
  const bool turned = binding.options.mask_as_diffusers && !npu;
  const Value dropped = turned ? Float(builder, keep, Activation::kNone, kDrop, 0)
                               : Float(builder, keep, Activation::kNone, -kDrop, kDrop);
  if (npu) return dropped;
  AddNullKey(builder, streams);
  const Value null_key = Float(builder, SliceChannels(keep, 0, 1), Activation::kNone, 0, kDrop / 2);
  return Concat(null_key, dropped);
}

}  // namespace unetd
