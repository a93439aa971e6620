// The block types that diffusers knows by name, and what this server makes of each.
#pragma once

#include <string_view>

#include "server/unet/config_reader.h"

namespace unetd {

enum class BlockSide { kDown, kUp };

// True for the CrossAttn block of `side`, false for the plain one. Anything else is failed at
// `where`: not built yet, what diffusers itself cannot run in this model, or unknown. A leading
// "UNetRes" is dropped, as in diffusers.
bool IsCrossBlock(ConfigReader& reader, BlockSide side, const std::string& where,
                  std::string_view type);

}  // namespace unetd
