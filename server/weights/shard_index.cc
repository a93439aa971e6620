#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <system_error>

#include "server/base/text.h"
#include "server/weights/checkpoint_folder.h"

namespace unetd {
namespace {

constexpr uint64_t kMaxIndexBytes = 64 << 20;
constexpr int kMaxDepth = 8;

using nlohmann::json;

bool IsShardName(const std::string& name) {
  // A NUL would end the name early for the system.
  return name.ends_with(".safetensors") &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos && !name.starts_with("..");
}

StatusOr<std::string> ReadText(const std::filesystem::path& file) {
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(file, error);
  if (error) return InvalidArgument("cannot read: " + error.message());
  if (size > kMaxIndexBytes) {
    return InvalidArgument(
        Format("expected at most {}, got {}", HumanBytes(kMaxIndexBytes), HumanBytes(size)));
  }
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad() || text.size() > kMaxIndexBytes) return InvalidArgument("cannot read");
  return text;
}

// Null for text that is not JSON, nests too deep, or names a tensor twice.
json ParseIndex(const std::string& text, std::string& twice) {
  std::map<int, std::set<std::string>> keys;  // by depth, of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kMaxDepth) throw std::length_error("depth");
    if (event == json::parse_event_t::object_start) keys[depth + 1].clear();
    if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys[depth].insert(key).second && twice.empty()) twice = key;
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception&) {
    return nullptr;
  } catch (const std::length_error&) {
    return nullptr;
  }
}

}  // namespace

StatusOr<std::map<std::string, std::string>> ParseShardIndex(const std::string& text) {
  std::string twice;
  const json root = ParseIndex(text, twice);
  if (!twice.empty()) return InvalidArgument(Format("{} is there twice", Quoted(twice)));
  const auto map = root.is_object() ? root.find("weight_map") : root.end();
  if (!root.is_object() || map == root.end() || !map->is_object() || map->empty()) {
    return InvalidArgument("expected a JSON object whose 'weight_map' names a file per tensor");
  }
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !IsShardName(shard.get_ref<const std::string&>())) {
      return InvalidArgument(Format(
          "tensor {}: expected the name of a .safetensors file in the same folder, got {}",
          Quoted(tensor),
          shard.is_string() ? Quoted(shard.get<std::string>()) : std::string(shard.type_name())));
    }
    shards[tensor] = shard.get<std::string>();
  }
  return shards;
}

StatusOr<std::map<std::string, std::string>> ReadShardIndex(const std::filesystem::path& index) {
  const std::string context = index.string() + ": ";
  const auto text = ReadText(index);
  if (!text.ok()) return text.status().WithContext(context);
  auto shards = ParseShardIndex(*text);
  if (!shards.ok()) return shards.status().WithContext(context);
  return shards;
}

}  // namespace unetd
