// Writes safetensors files.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "server/base/status.h"
#include "server/tensor/tensor.h"

namespace unetd {

// Writes a new file beside `path` and renames it over: a reader sees the old file or the new one,
// whole. Every tensor is aligned to 8 bytes or to its element's size; the same tensors give the
// same bytes.
Status WriteSafetensors(const std::filesystem::path& path,
                        const std::map<std::string, TensorView>& tensors,
                        const std::map<std::string, std::string>& metadata = {});

}  // namespace unetd
