#include "client/unetctl/tensor_file.h"

#include <algorithm>
#include <map>
#include <system_error>

#include "client/unetctl/npy.h"
#include "server/base/text.h"
#include "server/weights/safetensors.h"
#include "server/weights/writer.h"

namespace unetd::unetctl {
namespace {

constexpr char kNpy[] = ".npy";
constexpr char kSafetensors[] = ".safetensors";

Status NoTensorFile(const std::filesystem::path& path) {
  return InvalidArgument(Format("{}: expected a name that ends in {} or {}", Quoted(path.string()),
                                kSafetensors, kNpy));
}

std::string NamesOf(const SafetensorsFile& file) {
  constexpr size_t kShown = 8;
  std::vector<std::string> names;
  for (const auto& [name, view] : file.tensors()) {
    if (names.size() == kShown) {
      names.emplace_back("...");
      break;
    }
    names.push_back(Quoted(name));
  }
  return names.empty() ? "no tensors" : Format("{}", fmt::join(names, ", "));
}

}  // namespace

bool IsNpyFile(const std::filesystem::path& path) { return path.extension() == kNpy; }

bool IsTensorFile(const std::filesystem::path& path) {
  return IsNpyFile(path) || path.extension() == kSafetensors;
}

v1::Tensor ToWire(const std::string& name, const TensorView& view) {
  v1::Tensor tensor;
  tensor.set_name(name);
  tensor.set_datatype(std::string(WireName(view.dtype)));
  for (const int64_t size : view.shape) tensor.add_shape(size);
  tensor.set_raw(view.data, view.bytes);
  return tensor;
}

StatusOr<Tensor> FromWire(const v1::Tensor& tensor) {
  const std::optional<DType> dtype = DTypeFromWireName(tensor.datatype());
  if (!dtype) {
    return InvalidArgument(
        Format("tensor {}: unknown datatype {}", Quoted(tensor.name()), Quoted(tensor.datatype())));
  }
  const Shape shape(tensor.shape().begin(), tensor.shape().end());
  const auto bytes = CheckedBytes(shape, *dtype);
  if (!bytes.ok()) return bytes.status().WithContext(Format("tensor {}: ", Quoted(tensor.name())));
  if (tensor.raw().size() != *bytes) {
    return InvalidArgument(Format("tensor {}: {} {} needs {} bytes, got {}", Quoted(tensor.name()),
                                  tensor.datatype(), ShapeText(shape), *bytes,
                                  tensor.raw().size()));
  }
  ASSIGN_OR_RETURN(Tensor aligned, Tensor::Allocate(*dtype, shape));
  std::copy(tensor.raw().begin(), tensor.raw().end(), aligned.as<char>());
  return aligned;
}

StatusOr<std::vector<v1::Tensor>> ReadTensors(const std::filesystem::path& path) {
  if (path.extension() != kSafetensors) {
    return InvalidArgument(
        Format("{}: expected a {} file, whose tensors have names; NAME=FILE gives a {} file one",
               Quoted(path.string()), kSafetensors, kNpy));
  }
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  RETURN_IF_ERROR(file->CheckUnchanged());
  std::vector<v1::Tensor> tensors;
  for (const auto& [name, view] : file->tensors()) tensors.push_back(ToWire(name, view));
  return tensors;
}

StatusOr<v1::Tensor> ReadTensor(const std::filesystem::path& path,
                                const std::vector<std::string>& names) {
  if (IsNpyFile(path)) {
    ASSIGN_OR_RETURN(const Tensor tensor, ReadNpy(path));
    return ToWire(names[0], tensor.View());
  }
  if (!IsTensorFile(path)) return NoTensorFile(path);
  ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(path));
  RETURN_IF_ERROR(file->CheckUnchanged());
  for (const std::string& name : names) {
    const auto found = file->tensors().find(name);
    if (found != file->tensors().end()) return ToWire(names[0], found->second);
  }
  if (file->tensors().size() == 1) return ToWire(names[0], file->tensors().begin()->second);
  return InvalidArgument(
      Format("{}: no tensor {}; it has {}", path.string(), Quoted(names[0]), NamesOf(*file)));
}

Status WriteTensors(const std::filesystem::path& path, std::span<const v1::Tensor> tensors) {
  if (!IsTensorFile(path)) return NoTensorFile(path);
  std::map<std::string, Tensor> owned;
  for (const v1::Tensor& tensor : tensors) {
    auto copy = FromWire(tensor);
    if (!copy.ok()) return copy.status().WithContext(path.string() + ": ");
    if (!owned.emplace(tensor.name(), *std::move(copy)).second) {
      return InvalidArgument(
          Format("{}: two tensors are named {}", path.string(), Quoted(tensor.name())));
    }
  }
  std::error_code error;  // what it means shows when the file is written
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (IsNpyFile(path)) {
    if (owned.size() == 1) return WriteNpy(path, owned.begin()->second.View());
    return InvalidArgument(Format("{}: {} tensors; a {} file holds one, {} any number",
                                  path.string(), owned.size(), kNpy, kSafetensors));
  }
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : owned) views[name] = tensor.View();
  return WriteSafetensors(path, views);
}

}  // namespace unetd::unetctl
