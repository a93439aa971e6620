// The 16-bit element types, as storage only, and the sizes of the ABI's dtypes. Safe to include
// from sources that are compiled for one instruction set: nothing here can be emitted as a shared
// inline function.
#pragma once

#include <cstdint>

#include "backends/api/unetd_backend.h"

namespace unetd::cpu {

struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};
struct BF16Pair {  // two neighbours of a sum, multiplied at once where the CPU can
  BF16 value[2];
};

// Bytes an element; 0 for what is not a dtype.
constexpr uint32_t DTypeBytes(int32_t dtype) {
  switch (dtype) {
    case UNETD_DTYPE_F64:
    case UNETD_DTYPE_I64:
    case UNETD_DTYPE_U64:
      return 8;
    case UNETD_DTYPE_F32:
    case UNETD_DTYPE_I32:
    case UNETD_DTYPE_U32:
      return 4;
    case UNETD_DTYPE_F16:
    case UNETD_DTYPE_BF16:
    case UNETD_DTYPE_I16:
    case UNETD_DTYPE_U16:
      return 2;
    case UNETD_DTYPE_BOOL:
    case UNETD_DTYPE_I8:
    case UNETD_DTYPE_U8:
      return 1;
    default:
      return 0;
  }
}

// F32, F16 or BF16: what activations and weights are stored as.
constexpr bool IsStorage(int32_t dtype) {
  return dtype == UNETD_DTYPE_F32 || dtype == UNETD_DTYPE_F16 || dtype == UNETD_DTYPE_BF16;
}

}  // namespace unetd::cpu
