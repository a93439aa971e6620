// Which layers read which mask, and of what length: attention_mask and encoder_attention_mask mean
// other keys in every kind of block.
#pragma once

#include <string>
#include <vector>

#include "server/unet/unet_layout.h"

namespace unetd {

enum class MaskInput { kNone, kAttention, kText };

// One attention layer of a request.
struct MaskedLayer {
  std::string name;
  MaskInput reads = MaskInput::kNone;
  // How many values the mask must have, so that it fits the keys once diffusers has padded it; -1:
  // none fits.
  int64_t values = -1;
};

// Every layer but GLIGEN's. `seen`: tokens of the text as layers see it, 0 if there is none;
// `overrides`: there is an attention_mask, which SimpleCrossAttn layers take before the other.
std::vector<MaskedLayer> MaskedLayers(const UNetLayout& layout, const SizedLayout& sized,
                                      int64_t seen, bool overrides);

}  // namespace unetd
