// The header of .npy files, from any bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "client/unetctl/npy_header.h"

// By its source: the targets are built without the client.
#include "client/unetctl/npy_header.cc"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void Check(std::span<const uint8_t> bytes, uint64_t file_size) {
  const auto header = unetd::unetctl::ParseNpyHeader(bytes, file_size);
  if (!header.ok()) {
    Require(!header.status().message().empty() && header.status().message().size() < 1000);
    Require(unetd::IsUtf8(header.status().message()));
    return;
  }
  const uint64_t data = *unetd::CheckedBytes(header->shape, header->dtype);
  Require(header->data_start + data == file_size);
  // What was read is written again, and read as the same.
  const auto again = unetd::unetctl::NpyHeaderBytes(header->dtype, header->shape);
  Require(again.ok() && again->size() % 64 == 0);
  const auto second = unetd::unetctl::ParseNpyHeader(
      {reinterpret_cast<const uint8_t*>(again->data()), again->size()}, again->size() + data);
  Require(second.ok() && second->dtype == header->dtype && second->shape == header->shape);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Check({data, size}, size);
  // The same as the text of a header whose magic, version and length are right, which random bytes
  // seldom have; the first byte says how much data follows.
  if (size < 1 || size > 4096) return 0;
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += {static_cast<char>((size - 1) & 0xFF), static_cast<char>((size - 1) >> 8)};
  bytes.append(reinterpret_cast<const char*>(data) + 1, size - 1);
  Check({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, bytes.size() + data[0]);
  return 0;
}
