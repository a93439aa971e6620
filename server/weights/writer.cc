#include "server/weights/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "server/base/text.h"
#include "server/weights/safetensors.h"

namespace unetd {
namespace {

using Item = std::pair<const std::string, TensorView>;

// The widest elements first, so that every tensor is aligned to its own; then by name.
std::vector<const Item*> InFileOrder(const std::map<std::string, TensorView>& tensors) {
  std::vector<const Item*> items;
  for (const Item& item : tensors) items.push_back(&item);
  std::stable_sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
    return DTypeSize(a->second.dtype) > DTypeSize(b->second.dtype);
  });
  return items;
}

Status CheckItem(const Item& item) {
  const auto& [name, view] = item;
  const auto bytes = CheckedBytes(view.shape, view.dtype);
  if (!bytes.ok()) return bytes.status().WithContext(Format("tensor {}: ", Quoted(name)));
  if (*bytes != view.bytes) {
    return InvalidArgument(Format("tensor {}: shape {} of {} has {} bytes, got {}", Quoted(name),
                                  ShapeText(view.shape), TorchName(view.dtype), *bytes,
                                  view.bytes));
  }
  if (name == "__metadata__") return InvalidArgument("no tensor can be named '__metadata__'");
  return OkStatus();
}

// The length and the JSON, padded with spaces to a multiple of 8.
StatusOr<std::string> HeaderText(const std::vector<const Item*>& items,
                                 const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const Item* item : items) {
    const auto& [name, view] = *item;
    json[name] = {{"dtype", SafetensorsName(view.dtype)},
                  {"shape", view.shape},
                  {"data_offsets", {at, at + view.bytes}}};
    at += view.bytes;
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception&) {
    return InvalidArgument("names and metadata must be UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    return InvalidArgument(
        Format("the header would have {} bytes, more than {}", text.size(), kMaxSafetensorsHeader));
  }
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

// A file that is deleted unless it was renamed into place.
class NewFile {
 public:
  explicit NewFile(const std::filesystem::path& target) : target_(target) {
    static std::atomic<uint64_t> count{0};
    path_ = target.string() + Format(".{}.{}.new", getpid(), count++);
    fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) error_ = errno;
  }
  ~NewFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(path_.c_str());
  }

  void Write(const void* data, uint64_t bytes) {
    const char* at = static_cast<const char*>(data);
    while (error_ == 0 && bytes > 0) {
      const ssize_t written = write(fd_, at, std::min<uint64_t>(bytes, 1 << 30));
      if (written >= 0) {
        at += written;
        bytes -= static_cast<uint64_t>(written);
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
  }

  Status Finish() {
    if (error_ == 0 && rename(path_.c_str(), target_.c_str()) != 0) error_ = errno;
    if (error_ == 0) return OkStatus();
    return InvalidArgument(
        Format("{}: cannot write: {}", target_.string(), std::generic_category().message(error_)));
  }

 private:
  std::filesystem::path target_;
  std::string path_;
  int fd_ = -1;
  int error_ = 0;
};

}  // namespace

Status WriteSafetensors(const std::filesystem::path& path,
                        const std::map<std::string, TensorView>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  const std::vector<const Item*> items = InFileOrder(tensors);
  for (const Item* item : items) {
    RETURN_IF_ERROR(CheckItem(*item).WithContext(path.string() + ": "));
  }
  const auto header = HeaderText(items, metadata);
  if (!header.ok()) return header.status().WithContext(path.string() + ": ");
  NewFile file(path);
  file.Write(header->data(), header->size());
  for (const Item* item : items) file.Write(item->second.data, item->second.bytes);
  return file.Finish();
}

}  // namespace unetd
