// The safetensors header, from any bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/text.h"
#include "server/weights/safetensors.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void Check(std::span<const uint8_t> bytes, uint64_t file_size) {
  const auto header = unetd::ParseSafetensorsHeader(bytes, file_size);
  if (!header.ok()) {
    Require(!header.status().message().empty() && header.status().message().size() < 1000);
    Require(unetd::IsUtf8(header.status().message()));
    return;
  }
  uint64_t covered = 0;
  for (const auto& [name, entry] : header->tensors) {
    Require(entry.begin <= entry.end && entry.end <= file_size - header->data_start);
    Require(*unetd::CheckedBytes(entry.shape, entry.dtype) == entry.end - entry.begin);
    covered += entry.end - entry.begin;
  }
  Require(header->data_start + covered == file_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Check({data, size}, size);
  // The same with a length that is right, which random bytes seldom have; the first byte says how
  // much data follows.
  if (size < 1 || size > 255 * 256) return 0;
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>((size - 1) >> (8 * i));
  bytes.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  Check({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, bytes.size() + data[0]);
  return 0;
}
