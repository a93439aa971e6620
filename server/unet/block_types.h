// The block types that diffusers knows by name, and what this server makes of each.
#pragma once

#include <string_view>

#include "server/unet/config_reader.h"
#include "server/unet/unet_config.h"

namespace unetd {

enum class BlockSide { kDown, kUp };

// What `type` is on `side`. What diffusers itself cannot run in this model, and unknown ones, are
// failed at `where`. A leading "UNetRes" is dropped, as in diffusers.
BlockKind KindOfBlock(ConfigReader& reader, BlockSide side, const std::string& where,
                      std::string_view type);

}  // namespace unetd
