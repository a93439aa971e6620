#include "server/weights/weight_store.h"

#include <array>
#include <utility>

#include "server/base/hash.h"
#include "server/base/text.h"
#include "server/weights/checkpoint_folder.h"

namespace unetd {
namespace {

// The name that a legacy name stands for, or "" if it is none: "...attentions.0.query.weight" ->
// "...attentions.0.to_q.weight".
std::string ModernName(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNames = {
      {{"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}}};
  constexpr std::string_view kParent = "attentions.";
  const size_t last_dot = name.rfind('.');
  if (last_dot == std::string::npos || last_dot == 0) return "";
  const size_t middle_dot = name.rfind('.', last_dot - 1);
  if (middle_dot == std::string::npos) return "";
  const size_t parent = name.rfind(kParent, middle_dot);
  if (parent == std::string::npos || (parent > 0 && name[parent - 1] != '.')) return "";
  const size_t number = parent + kParent.size();
  if (number >= middle_dot) return "";
  const std::string_view digits = std::string_view(name).substr(number, middle_dot - number);
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return "";
  const std::string_view old =
      std::string_view(name).substr(middle_dot + 1, last_dot - middle_dot - 1);
  for (const auto& [legacy, modern] : kNames) {
    if (old != legacy) continue;
    return name.substr(0, middle_dot + 1) + std::string(modern) + name.substr(last_dot);
  }
  return "";
}

}  // namespace

StatusOr<std::shared_ptr<WeightStore>> WeightStore::OpenFolder(const std::filesystem::path& path,
                                                               std::string_view variant) {
  ASSIGN_OR_RETURN(const CheckpointFiles files, FindCheckpoint(path, variant));
  std::shared_ptr<WeightStore> store(new WeightStore);
  store->path_ = path.string();
  RETURN_IF_ERROR(files.index.empty() ? store->AddFile(files.single)
                                      : store->AddShards(files.index));
  store->metadata_ = store->files_.front()->metadata();
  store->RenameLegacy();
  return store;
}

Status WeightStore::AddFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::shared_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  for (const auto& [name, view] : file->tensors()) {
    entries_.emplace(name, Entry{file.get(), &view, file->OffsetOf(name)});
  }
  files_.push_back(std::move(file));
  return OkStatus();
}

Status WeightStore::AddShards(const std::filesystem::path& index) {
  ASSIGN_OR_RETURN(const auto map, ReadShardIndex(index));
  std::map<std::string, SafetensorsFile*> shards;
  for (const auto& [name, shard] : map) {
    auto [it, is_new] = shards.emplace(shard, nullptr);
    if (is_new) {
      // Adds tensors that the index leaves out too, as diffusers does.
      RETURN_IF_ERROR(AddFile(index.parent_path() / shard)
                          .WithContext(Format("{}: tensor {}: ", index.string(), Quoted(name))));
      it->second = files_.back().get();
    }
  }
  for (const auto& [name, shard] : map) {
    const SafetensorsFile* file = shards[shard];
    const auto view = file->tensors().find(name);
    if (view == file->tensors().end()) {
      return InvalidArgument(Format("{}: tensor {} is not in its shard {}", index.string(),
                                    Quoted(name), Quoted(shard)));
    }
    entries_[name] = {file, &view->second, file->OffsetOf(name)};
  }
  return OkStatus();
}

void WeightStore::RenameLegacy() {
  std::vector<std::pair<std::string, std::string>> renames;
  for (const auto& [name, entry] : entries_) {
    const std::string modern = ModernName(name);
    if (!modern.empty() && !entries_.contains(modern)) renames.emplace_back(name, modern);
  }
  for (auto& [name, modern] : renames) {
    auto node = entries_.extract(name);
    node.key() = std::move(modern);
    entries_.insert(std::move(node));
  }
}

const TensorView* WeightStore::Find(const std::string& name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : it->second.view;
}

std::vector<std::string> WeightStore::Names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::string WeightStore::FileOf(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it != entries_.end()) return it->second.file->path().string();
  return files_.size() == 1 ? files_.front()->path().string() : path_;
}

std::string WeightStore::ContentId(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return "";
  const auto& [file, view, offset] = it->second;
  const FileIdentity& identity = file->identity();
  return Format("{}|{}:{}:{}:{}|{}+{}", file->path().string(), identity.device, identity.inode,
                identity.size, identity.mtime, offset, view->bytes);
}

Status WeightStore::CheckUnchanged() const {
  for (const auto& file : files_) RETURN_IF_ERROR(file->CheckUnchanged());
  return OkStatus();
}

void WeightStore::DropPages(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it != entries_.end()) it->second.file->DropPages(*it->second.view);
}

uint64_t WeightStore::TotalBytes() const {
  uint64_t total = 0;
  for (const auto& [name, entry] : entries_) total += entry.view->bytes;
  return total;
}

std::string WeightStore::Fingerprint() const {
  uint64_t hash = 0;
  for (const auto& [name, entry] : entries_) {
    hash = StableHash(name, hash);
    hash = StableHash(TorchName(entry.view->dtype), hash);
    hash = StableHash(ShapeText(entry.view->shape), hash);
    hash = StableHash(ContentId(name), hash);
  }
  return Format("{:016x}", hash);
}

}  // namespace unetd
