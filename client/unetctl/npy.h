// Reads and writes numpy's .npy files.
#pragma once

#include <filesystem>

#include "server/base/status.h"
#include "server/tensor/tensor.h"

namespace unetd::unetctl {

// NOT_FOUND, INVALID_ARGUMENT (see ParseNpyHeader) or RESOURCE_EXHAUSTED, naming the file.
StatusOr<Tensor> ReadNpy(const std::filesystem::path& path);

// Writes a new file beside `path` and renames it over: a reader sees the old file or the new one,
// whole. INVALID_ARGUMENT for bfloat16, INTERNAL if it cannot be written; both name the file.
Status WriteNpy(const std::filesystem::path& path, const TensorView& tensor);

}  // namespace unetd::unetctl
