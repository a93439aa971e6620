// The part of config.json that speaks of what conditions the UNet beside the timestep.
#pragma once

#include "server/unet/config_reader.h"
#include "server/unet/unet_config.h"

namespace unetd {

// Fills what belongs to class labels, addition embeddings and the text's projection. Levels and
// time must have been read.
void ReadConditions(ConfigReader& reader, UNetConfig& config);

// Fails `key` if a sinusoid of `dim` is none, or would divide by 0 with this freq_shift.
void CheckSinusoid(ConfigReader& reader, const UNetConfig& config, const char* key, uint32_t dim);

}  // namespace unetd
