#include "server/unet/mask_checks.h"

namespace unetd {
namespace {

// A mask that has not `target` values gets so many zeros behind it.
int64_t ValuesFor(int64_t keys, int64_t target) {
  if (keys == target) return target;
  const int64_t values = keys - target;
  return values > 0 && values != target ? values : -1;
}

}  // namespace

std::vector<MaskedLayer> MaskedLayers(const UNetLayout& layout, const SizedLayout& sized,
                                      int64_t seen, bool overrides) {
  std::vector<MaskedLayer> masked;
  const MaskInput simple = overrides ? MaskInput::kAttention : MaskInput::kText;
  for (const BlockLayout* block : layout.InModuleOrder()) {
    const Size size = sized.levels[block->level];
    const int64_t own = int64_t{size.h} * size.w, text = seen != 0 ? seen : own;
    for (const TransformerLayout& transformer : block->transformers) {
      if (transformer.depth == 0) continue;
      masked.push_back(
          {transformer.Attn1(0).name, MaskInput::kAttention, transformer.only_cross ? text : own});
      masked.push_back({transformer.Attn2(0).name, MaskInput::kText, text});
    }
    for (const AttentionLayer& layer : block->attentions) {
      if (!layer.has_added_kv()) continue;
      const int64_t keys = layer.only_cross ? text : text + own;
      masked.push_back({layer.name, simple, ValuesFor(keys, own)});
    }
    for (const KAttentionLayout& attention : block->k_attentions) {
      if (attention.attn1) masked.push_back({attention.attn1->name, MaskInput::kAttention, own});
      masked.push_back(
          {attention.attn2.name, seen != 0 ? MaskInput::kText : MaskInput::kAttention, text});
    }
  }
  return masked;
}

}  // namespace unetd
