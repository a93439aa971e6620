// Which files of a diffusers folder hold the weights.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "server/base/status.h"

namespace unetd {

// One of the two is set.
struct CheckpointFiles {
  std::filesystem::path single;  // a safetensors file
  std::filesystem::path index;   // the JSON that says which shard holds which tensor
};

// `path`: a .safetensors file, or a folder. See WeightStore::OpenFolder for the rules.
StatusOr<CheckpointFiles> FindCheckpoint(const std::filesystem::path& path,
                                         std::string_view variant);

// Tensor name -> shard's file name, as the index's "weight_map" says. Every shard's name is a plain
// file name that ends in .safetensors.
StatusOr<std::map<std::string, std::string>> ParseShardIndex(const std::string& text);
StatusOr<std::map<std::string, std::string>> ReadShardIndex(const std::filesystem::path& index);

}  // namespace unetd
