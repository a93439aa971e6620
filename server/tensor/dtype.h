// Element types of the protocol, the checkpoints and the plans: one enum, its sizes and names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "backends/api/unetd_backend.h"

namespace unetd {

// The numbers are the backend ABI's.
enum class DType : int32_t {
  kFloat32 = UNETD_DTYPE_F32,
  kFloat16 = UNETD_DTYPE_F16,
  kBFloat16 = UNETD_DTYPE_BF16,
  kFloat64 = UNETD_DTYPE_F64,
  kBool = UNETD_DTYPE_BOOL,
  kInt8 = UNETD_DTYPE_I8,
  kInt16 = UNETD_DTYPE_I16,
  kInt32 = UNETD_DTYPE_I32,
  kInt64 = UNETD_DTYPE_I64,
  kUInt8 = UNETD_DTYPE_U8,
  kUInt16 = UNETD_DTYPE_U16,
  kUInt32 = UNETD_DTYPE_U32,
  kUInt64 = UNETD_DTYPE_U64,
};

size_t DTypeSize(DType dtype);                  // bytes an element
bool IsFloat(DType dtype);                      // float16, bfloat16, float32 or float64
std::string_view TorchName(DType dtype);        // "float32", as in configs
std::string_view WireName(DType dtype);         // "FP32", as in the Open Inference Protocol
std::string_view SafetensorsName(DType dtype);  // "F32", as in checkpoints
std::optional<DType> DTypeFromTorchName(std::string_view name);
std::optional<DType> DTypeFromWireName(std::string_view name);
std::optional<DType> DTypeFromSafetensorsName(std::string_view name);  // "F32", "BF16", "I64", ...

}  // namespace unetd
