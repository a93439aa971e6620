// A checkpoint's tensors by name, whether they lie in one file or in shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/weights/safetensors.h"

namespace unetd {

// Immutable but for DropPages; any thread may read.
class WeightStore {
 public:
  // `path` is a .safetensors file, or a diffusers folder that holds
  // diffusion_pytorch_model[.variant].safetensors or the index of its shards. Without `variant` the
  // plain one is taken, else the only variant there is. Pickle files are refused. NOT_FOUND,
  // INVALID_ARGUMENT or RESOURCE_EXHAUSTED; messages name file and tensor.
  static StatusOr<std::shared_ptr<WeightStore>> OpenFolder(const std::filesystem::path& path,
                                                           std::string_view variant = "");

  // The folder or file as it was named when it was opened, for messages.
  const std::string& path() const { return path_; }

  // Null if there is none. Legacy attention names (attentions.N.query, key, value, proj_attn) are
  // found as to_q, to_k, to_v, to_out.0.
  const TensorView* Find(const std::string& name) const;
  std::vector<std::string> Names() const;  // sorted

  // The file that holds a tensor, for messages; of one that is not there, the only file or, with
  // shards, the folder.
  std::string FileOf(const std::string& name) const;

  // Names the bytes of a tensor: two stores (or two names) with the same id read the same bytes of
  // the same file. "" if there is no such tensor.
  std::string ContentId(const std::string& name) const;

  // FAILED_PRECONDITION if any file was written to since it was opened; see
  // SafetensorsFile::CheckUnchanged.
  Status CheckUnchanged() const;

  // Gives back the pages of a tensor that was packed; reading it again is legal, and reads the file
  // again.
  void DropPages(const std::string& name) const;

  uint64_t TotalBytes() const;  // of all tensors
  // 16 hexadecimal digits: changes with the files, the names or the shapes.
  std::string Fingerprint() const;
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }  // of the first file
  const std::vector<std::shared_ptr<SafetensorsFile>>& files() const { return files_; }

 private:
  struct Entry {
    const SafetensorsFile* file;
    const TensorView* view;
    uint64_t offset;  // bytes from the file's start
  };

  WeightStore() = default;
  Status AddFile(const std::filesystem::path& path);
  Status AddShards(const std::filesystem::path& index);
  void RenameLegacy();

  std::string path_;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace unetd
