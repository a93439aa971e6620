#include "backends/cpu/host_memory.h"

#include <sys/mman.h>

#include <cstdlib>

namespace unetd::cpu {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kLarge = kHugePage;
constexpr uint64_t kMaxBytes = uint64_t{1} << 46;

uint64_t Mapped(uint64_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

}  // namespace

void* AllocateHost(uint64_t bytes) {
  if (bytes > kMaxBytes) return nullptr;
  if (bytes < kLarge) return std::aligned_alloc(64, (bytes == 0 ? 64 : bytes + 63) / 64 * 64);
  // A page more than needed, so that a huge boundary lies within; both ends are given back.
  const uint64_t size = Mapped(bytes);
  void* mapped =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const uint64_t start = reinterpret_cast<uint64_t>(mapped);
  const uint64_t aligned = Mapped(start);
  if (aligned > start) munmap(mapped, aligned - start);
  const uint64_t tail = start + kHugePage - aligned;
  if (tail > 0) munmap(reinterpret_cast<void*>(aligned + size), tail);
  void* address = reinterpret_cast<void*>(aligned);
  madvise(address, size, MADV_HUGEPAGE);  // a wish: refused where the system has none
  return address;
}

void FreeHost(void* address, uint64_t bytes) {
  if (address == nullptr) return;
  if (bytes < kLarge) {
    std::free(address);
  } else {
    munmap(address, Mapped(bytes));
  }
}

}  // namespace unetd::cpu
