// The index of a sharded checkpoint, from any bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/text.h"
#include "server/weights/checkpoint_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto shards = unetd::ParseShardIndex({reinterpret_cast<const char*>(data), size});
  if (!shards.ok()) {
    const std::string& message = shards.status().message();
    if (message.empty() || message.size() > 1000 || !unetd::IsUtf8(message)) std::abort();
    return 0;
  }
  for (const auto& [tensor, shard] : *shards) {
    const auto path = std::filesystem::path("/folder") / shard;
    if (path.lexically_normal().parent_path() != "/folder") std::abort();
  }
  return 0;
}
