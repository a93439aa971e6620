#include "client/unetctl/npy.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "client/unetctl/npy_header.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

StatusOr<Tensor> ReadOpened(std::ifstream& file, uint64_t file_size) {
  std::vector<uint8_t> start(std::min(file_size, kMaxNpyHeader));
  file.read(reinterpret_cast<char*>(start.data()), static_cast<std::streamsize>(start.size()));
  if (!file) return InvalidArgument("cannot read");
  ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(start, file_size));
  ASSIGN_OR_RETURN(Tensor tensor, Tensor::Allocate(header.dtype, std::move(header.shape)));
  file.seekg(static_cast<std::streamoff>(header.data_start));
  file.read(tensor.as<char>(), static_cast<std::streamsize>(tensor.bytes()));
  if (!file) return InvalidArgument("cannot read to its end");
  return tensor;
}

}  // namespace

StatusOr<Tensor> ReadNpy(const std::filesystem::path& path) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);  // of regular files only
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return NotFound(Format("cannot read {}", path.string()));
  auto tensor = ReadOpened(file, size);
  if (!tensor.ok()) return tensor.status().WithContext(path.string() + ": ");
  return tensor;
}

Status WriteNpy(const std::filesystem::path& path, const TensorView& tensor) {
  const auto header = NpyHeaderBytes(tensor.dtype, tensor.shape);
  if (!header.ok()) return header.status().WithContext(path.string() + ": ");
  const std::filesystem::path fresh = path.string() + Format(".{}.new", getpid());
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file.write(header->data(), static_cast<std::streamsize>(header->size()));
  file.write(tensor.as<char>(), static_cast<std::streamsize>(tensor.bytes));
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(fresh, path, error);
  if (file && !error) return OkStatus();
  std::filesystem::remove(fresh, error);
  return Internal(Format("{}: cannot write", path.string()));
}

}  // namespace unetd::unetctl
