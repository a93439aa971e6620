// Writes PNG files.
#pragma once

#include <filesystem>

#include "client/unetctl/picture.h"
#include "server/base/status.h"

namespace unetd::unetctl {

// 8-bit RGB. The folder is made if it is not there. INTERNAL names the file and the reason.
Status WritePng(const std::filesystem::path& path, const Picture& picture);

}  // namespace unetd::unetctl
