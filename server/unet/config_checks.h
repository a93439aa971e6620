// What can only be seen of a config as a whole: whether its modules fit one another.
#pragma once

#include "server/unet/config_reader.h"
#include "server/unet/unet_config.h"

namespace unetd {

// To be called once everything is read. Fails the reader for what diffusers cannot build or run.
void CheckModules(ConfigReader& reader, const UNetConfig& config);

}  // namespace unetd
