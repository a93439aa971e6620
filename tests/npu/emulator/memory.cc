// Device memory: what the caller gets is an address range that nobody may touch; the bytes lie
// elsewhere. So an access by host code faults, and the emulator finds the bytes by the address.
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>

#include "tests/npu/emulator/core.h"

namespace unetd::cann_emulator {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 34;

struct Buffer {
  uint64_t bytes;
  std::unique_ptr<uint8_t[]> content;
};

struct Memory {
  std::mutex mutex;
  std::map<uintptr_t, Buffer> device;                // by its first address
  std::map<void*, std::unique_ptr<uint8_t[]>> host;  // page-locked
};

Memory& TheMemory() {
  static Memory memory;
  return memory;
}

}  // namespace

int AllocateDevice(void** address, uint64_t bytes) {
  if (bytes == 0) return Say(kInvalidParam, "aclrtMalloc: 0 bytes");
  if (bytes > kMostBytes) return Say(kOutOfMemory, "aclrtMalloc: the device has no such memory");
  void* range = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return Say(kOutOfMemory, "aclrtMalloc: no address range is left");
  Buffer buffer{bytes, std::make_unique_for_overwrite<uint8_t[]>(bytes)};
  std::memset(buffer.content.get(), 0xff, bytes);
  const std::lock_guard lock(TheMemory().mutex);
  TheMemory().device.emplace(reinterpret_cast<uintptr_t>(range), std::move(buffer));
  *address = range;
  return 0;
}

int FreeDevice(void* address) {
  const std::lock_guard lock(TheMemory().mutex);
  const auto it = TheMemory().device.find(reinterpret_cast<uintptr_t>(address));
  if (it == TheMemory().device.end()) return Say(kInvalidPointer, "aclrtFree: not allocated");
  munmap(address, it->second.bytes);
  TheMemory().device.erase(it);
  return 0;
}

int AllocateHost(void** address, uint64_t bytes) {
  if (bytes == 0) return Say(kInvalidParam, "aclrtMallocHost: 0 bytes");
  auto content = std::make_unique<uint8_t[]>(bytes);
  *address = content.get();
  const std::lock_guard lock(TheMemory().mutex);
  TheMemory().host.emplace(*address, std::move(content));
  return 0;
}

int FreeHost(void* address) {
  const std::lock_guard lock(TheMemory().mutex);
  return TheMemory().host.erase(address) == 1
             ? 0
             : Say(kInvalidPointer, "aclrtFreeHost: not allocated");
}

uint8_t* DeviceBytes(const void* address, uint64_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(TheMemory().mutex);
  auto it = TheMemory().device.upper_bound(at);
  if (it == TheMemory().device.begin()) return nullptr;
  --it;
  const uint64_t offset = at - it->first;
  if (offset > it->second.bytes || bytes > it->second.bytes - offset) return nullptr;
  return it->second.content.get() + offset;
}

int CopyNow(void* dst, const void* src, uint64_t bytes, aclrtMemcpyKind kind) {
  const bool to_device = kind == ACL_MEMCPY_HOST_TO_DEVICE || kind == ACL_MEMCPY_DEVICE_TO_DEVICE;
  const bool from_device = kind == ACL_MEMCPY_DEVICE_TO_HOST || kind == ACL_MEMCPY_DEVICE_TO_DEVICE;
  uint8_t* to = DeviceBytes(dst, to_device ? bytes : 0);
  const uint8_t* from = DeviceBytes(src, from_device ? bytes : 0);
  if ((to != nullptr) != to_device || (from != nullptr) != from_device) {
    return Say(kInvalidPointer, "aclrtMemcpy: an address is on the wrong side or out of bounds");
  }
  std::memcpy(to_device ? to : dst, from_device ? from : src, bytes);
  return 0;
}

int64_t LivingBuffers() {
  const std::lock_guard lock(TheMemory().mutex);
  return static_cast<int64_t>(TheMemory().device.size() + TheMemory().host.size());
}

}  // namespace unetd::cann_emulator
