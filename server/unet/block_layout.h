// The blocks of a UNet as its config has them.
#pragma once

#include "server/unet/unet_layout.h"

namespace unetd {

BlockLayout DownBlockOf(const UNetConfig& config, uint32_t index);
BlockLayout UpBlockOf(const UNetConfig& config, uint32_t index);
// There is one: config.mid is not kNone.
BlockLayout MidBlockOf(const UNetConfig& config);

}  // namespace unetd
