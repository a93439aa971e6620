// Reads the safetensors format: 8 bytes little-endian header length, a JSON header, the tensors'
// bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/tensor.h"

namespace unetd {

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // bytes, the format's own limit

struct SafetensorsHeader {
  struct Entry {
    DType dtype;
    Shape shape;
    uint64_t begin;  // bytes from data_start
    uint64_t end;
  };
  std::map<std::string, Entry> tensors;
  std::map<std::string, std::string> metadata;
  uint64_t data_start = 0;  // bytes from the file's start
};

// Reads the header at the start of `bytes`, which may be the whole file or as little as the header;
// `file_size` is the whole file's. INVALID_ARGUMENT says what is damaged and names the tensor.
// Afterwards every entry has shape * dtype == end - begin, and the entries together cover the data
// exactly once: no overlap, no hole, nothing left over.
StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::span<const uint8_t> bytes,
                                                   uint64_t file_size);

// What a file was when it was opened. Another content means another identity, unless someone forges
// the times.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;  // bytes
  int64_t mtime = 0;  // nanoseconds since 1970

  bool operator==(const FileIdentity&) const = default;
};

// An open file, mapped read-only and private. Tensors that the file does not align to their
// elements (the usual writers align all) are copied when it is opened, so that every view can be
// read as its type.
class SafetensorsFile {
 public:
  // NOT_FOUND, INVALID_ARGUMENT (damaged; names the file and the tensor) or RESOURCE_EXHAUSTED.
  static StatusOr<std::shared_ptr<SafetensorsFile>> Open(const std::filesystem::path& path);

  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  // The views live as long as this object.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }  // absolute
  const FileIdentity& identity() const { return identity_; }
  // Bytes from the file's start to the tensor's first; 0 if there is no such tensor.
  uint64_t OffsetOf(const std::string& name) const;

  // FAILED_PRECONDITION if the file was written to since it was opened. Reading a mapped file that
  // someone cuts short kills the process (SIGBUS); call this just before reading a tensor: it makes
  // that window small, not nothing. Replacing a file by renaming another over it is always safe:
  // the mapping keeps the old one.
  Status CheckUnchanged() const;

  // Gives back the whole pages of a tensor that was read; reading it again is legal, and reads the
  // file again.
  void DropPages(const TensorView& tensor) const;

 private:
  SafetensorsFile() = default;
  Status AddTensors(SafetensorsHeader header);

  std::filesystem::path path_;
  FileIdentity identity_;
  int fd_ = -1;
  const uint8_t* mapping_ = nullptr;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, uint64_t> offsets_;
  std::map<std::string, std::string> metadata_;
  std::vector<Tensor> copies_;  // of unaligned tensors
};

}  // namespace unetd
