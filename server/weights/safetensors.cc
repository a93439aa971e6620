#include "server/weights/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

FileIdentity IdentityOf(const struct stat& info) {
  return {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino),
          static_cast<uint64_t>(info.st_size),
          int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

uintptr_t PageBytes() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

StatusOr<std::shared_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::filesystem::path& path) {
  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  std::error_code ignored;
  file->path_ = std::filesystem::absolute(path, ignored).lexically_normal();
  const std::string context = path.string() + ": ";
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  file->fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->fd_ < 0) {
    const int error = errno;
    return Status(error == ENOENT ? Code::kNotFound : Code::kInvalidArgument,
                  context + "cannot open: " + ErrnoText(error));
  }
  struct stat info {};
  if (fstat(file->fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
    return InvalidArgument(context + "expected a regular file");
  }
  file->identity_ = IdentityOf(info);
  const uint64_t size = file->identity_.size;
  if (size == 0) return InvalidArgument(context + "expected a safetensors file, got 0 bytes");
  void* mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file->fd_, 0);
  if (mapping == MAP_FAILED) {
    return ResourceExhausted(
        Format("{}cannot map {}: {}", context, HumanBytes(size), ErrnoText(errno)));
  }
  file->mapping_ = static_cast<const uint8_t*>(mapping);

  auto header = ParseSafetensorsHeader({file->mapping_, size}, size);
  if (!header.ok()) return header.status().WithContext(context);
  RETURN_IF_ERROR(file->AddTensors(*std::move(header)).WithContext(context));
  return file;
}

Status SafetensorsFile::AddTensors(SafetensorsHeader header) {
  metadata_ = std::move(header.metadata);
  for (auto& [name, entry] : header.tensors) {
    const uint64_t offset = header.data_start + entry.begin;
    TensorView view{entry.dtype, std::move(entry.shape), mapping_ + offset,
                    entry.end - entry.begin};
    if (offset % DTypeSize(view.dtype) != 0) {
      auto copy = Tensor::CopyOf(view);
      if (!copy.ok()) {
        return copy.status().WithContext(Format("tensor {} is not aligned: ", Quoted(name)));
      }
      view.data = copy->data();
      copies_.push_back(*std::move(copy));
    }
    offsets_[name] = offset;
    tensors_[name] = std::move(view);
  }
  return OkStatus();
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_ != nullptr) munmap(const_cast<uint8_t*>(mapping_), identity_.size);
  if (fd_ >= 0) close(fd_);
}

uint64_t SafetensorsFile::OffsetOf(const std::string& name) const {
  const auto it = offsets_.find(name);
  return it == offsets_.end() ? 0 : it->second;
}

Status SafetensorsFile::CheckUnchanged() const {
  struct stat info {};
  if (fstat(fd_, &info) == 0 && IdentityOf(info) == identity_) return OkStatus();
  return {Code::kFailedPrecondition,
          Format("{}: the file was written to while it was in use: expected {} bytes as of its "
                 "opening, got {} bytes",
                 path_.string(), identity_.size, info.st_size)};
}

void SafetensorsFile::DropPages(const TensorView& tensor) const {
  const auto base = reinterpret_cast<uintptr_t>(mapping_);
  const auto begin = reinterpret_cast<uintptr_t>(tensor.data);
  // A copy of an unaligned tensor is not in the mapping, and stays.
  if (begin < base || begin - base >= identity_.size) return;
  if (tensor.bytes > identity_.size - (begin - base)) return;
  // Only pages that hold nothing of the neighbours.
  const uintptr_t page = PageBytes();
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + tensor.bytes) / page * page;
  if (first >= last) return;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace unetd
