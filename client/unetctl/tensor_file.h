// Tensors of the wire from files and into files: .safetensors (any number, by name) and .npy (one).
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/tensor.h"
#include "unetd/v1/tensor.pb.h"

namespace unetd::unetctl {

// All tensors of a safetensors file, by name. Errors name the file.
StatusOr<std::vector<v1::Tensor>> ReadTensors(const std::filesystem::path& path);

// One tensor, which is then called names[0]: a .npy file's, or of a .safetensors file the first of
// `names` that it has, or the only one there is. INVALID_ARGUMENT lists what the file has instead.
StatusOr<v1::Tensor> ReadTensor(const std::filesystem::path& path,
                                const std::vector<std::string>& names);

// To a .safetensors file under their names, or, one alone, to a .npy file. The folder is made if it
// is not there. INVALID_ARGUMENT if two have the same name, a shape and its bytes disagree, or the
// file's name ends otherwise.
Status WriteTensors(const std::filesystem::path& path, std::span<const v1::Tensor> tensors);

// True if WriteTensors and ReadTensors know this kind of file, by its name.
bool IsTensorFile(const std::filesystem::path& path);
bool IsNpyFile(const std::filesystem::path& path);

// A copy that can be read as its type. INVALID_ARGUMENT if datatype, shape and bytes disagree.
StatusOr<Tensor> FromWire(const v1::Tensor& tensor);
v1::Tensor ToWire(const std::string& name, const TensorView& view);

}  // namespace unetd::unetctl
