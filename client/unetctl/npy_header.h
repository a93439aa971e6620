// The header of numpy's .npy files, from any bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "server/base/status.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"

namespace unetd::unetctl {

inline constexpr uint64_t kMaxNpyHeader = 1 << 16;  // bytes; numpy itself writes 118 for an array

struct NpyHeader {
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t data_start = 0;  // bytes from the file's start
};

// Reads the header at the start of `bytes`, which may be the whole file or its first kMaxNpyHeader
// bytes; `file_size` is the whole file's. Versions 1 and 2, little-endian, C order, numbers and
// bools. INVALID_ARGUMENT says what is damaged or of another kind. Afterwards the elements of shape
// fill the file from data_start to its end exactly.
StatusOr<NpyHeader> ParseNpyHeader(std::span<const uint8_t> bytes, uint64_t file_size);

// Everything before the data, 64-byte aligned as numpy has it. INVALID_ARGUMENT for bfloat16, which
// numpy does not know.
StatusOr<std::string> NpyHeaderBytes(DType dtype, const Shape& shape);

}  // namespace unetd::unetctl
