#include "server/tensor/dtype.h"

#include <array>

namespace unetd {
namespace {

struct Row {
  DType dtype;
  size_t size;
  bool is_float;
  std::string_view torch;
  std::string_view wire;
  std::string_view safetensors;
};

constexpr std::array<Row, 13> kRows = {{
    {DType::kFloat32, 4, true, "float32", "FP32", "F32"},
    {DType::kFloat16, 2, true, "float16", "FP16", "F16"},
    {DType::kBFloat16, 2, true, "bfloat16", "BF16", "BF16"},
    {DType::kFloat64, 8, true, "float64", "FP64", "F64"},
    {DType::kBool, 1, false, "bool", "BOOL", "BOOL"},
    {DType::kInt8, 1, false, "int8", "INT8", "I8"},
    {DType::kInt16, 2, false, "int16", "INT16", "I16"},
    {DType::kInt32, 4, false, "int32", "INT32", "I32"},
    {DType::kInt64, 8, false, "int64", "INT64", "I64"},
    {DType::kUInt8, 1, false, "uint8", "UINT8", "U8"},
    {DType::kUInt16, 2, false, "uint16", "UINT16", "U16"},
    {DType::kUInt32, 4, false, "uint32", "UINT32", "U32"},
    {DType::kUInt64, 8, false, "uint64", "UINT64", "U64"},
}};

constexpr bool RowsAreInEnumOrder() {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<size_t>(kRows[i].dtype) != i + 1) return false;
  }
  return true;
}
static_assert(RowsAreInEnumOrder());

const Row& RowOf(DType dtype) {
  // A number that is no dtype (from a cast of a stranger's) must not read beyond the table.
  const size_t index = static_cast<size_t>(dtype) - 1;
  return kRows[index < kRows.size() ? index : 0];
}

std::optional<DType> FindByName(std::string_view Row::*column, std::string_view name) {
  for (const Row& row : kRows) {
    if (row.*column == name) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace

size_t DTypeSize(DType dtype) { return RowOf(dtype).size; }
bool IsFloat(DType dtype) { return RowOf(dtype).is_float; }
std::string_view TorchName(DType dtype) { return RowOf(dtype).torch; }
std::string_view WireName(DType dtype) { return RowOf(dtype).wire; }
std::string_view SafetensorsName(DType dtype) { return RowOf(dtype).safetensors; }

std::optional<DType> DTypeFromTorchName(std::string_view name) {
  return FindByName(&Row::torch, name);
}
std::optional<DType> DTypeFromWireName(std::string_view name) {
  return FindByName(&Row::wire, name);
}
std::optional<DType> DTypeFromSafetensorsName(std::string_view name) {
  return FindByName(&Row::safetensors, name);
}

}  // namespace unetd
