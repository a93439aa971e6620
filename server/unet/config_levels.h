// The part of config.json that speaks of levels: block types and everything that may be a list.
#pragma once

#include "server/unet/config_reader.h"
#include "server/unet/unet_config.h"

namespace unetd {

inline constexpr Range kChannels{1, 1 << 16};

// Fills levels, mid and what belongs to their norms and samplers.
void ReadLevels(ConfigReader& reader, UNetConfig& config);

}  // namespace unetd
