#include "server/attention/row_checks.h"

#include <algorithm>

#include "server/base/text.h"

namespace unetd {
namespace {

std::string By(const LayerBinding& binding) {
  return binding.rule == kDefaultRule ? "" : Format(" (by {})", binding.rule);
}

Status CheckFrames(const std::string& layer, const LayerBinding& binding, uint32_t rows) {
  const uint32_t videos = binding.options.batch_size;
  uint32_t frames = rows / videos;
  if (frames == 0 && binding.processor->Has(kAnyRows)) frames = 1;
  if (frames != 0 && rows % frames == 0) return OkStatus();
  return InvalidArgument(Format(
      "sample: {} of layer '{}'{} takes the rows of a request as batch_size={} videos, so of "
      "rows // {} frames each; {} rows {}; expected a multiple of {}",
      binding.processor->name, layer, By(binding), videos, videos, rows,
      frames == 0 ? "are fewer than that" : Format("are no videos of {} frames", frames), videos));
}

}  // namespace

Status CheckRowGroup(const VariantBindings& bindings, uint32_t rows, bool self_mask,
                     bool text_mask) {
  for (const std::string& name : bindings.rows_matter()) {
    const LayerBinding& binding = *bindings.Find(name);
    const ProcessorRow& row = *binding.processor;
    if (row.projection == Projection::kCrossFrame) {
      RETURN_IF_ERROR(CheckFrames(name, binding, rows));
    }
    const char* mask = self_mask && name.ends_with(".attn1")   ? "attention_mask"
                       : text_mask && name.ends_with(".attn2") ? "encoder_attention_mask"
                                                               : nullptr;
    if (row.Has(kMaskOneRow) && mask != nullptr && rows != 1) {
      return InvalidArgument(Format(
          "{}: {} of layer '{}'{} takes a mask with one row only, as diffusers does; got {} rows",
          mask, row.name, name, By(binding), rows));
    }
  }
  return OkStatus();
}

}  // namespace unetd
