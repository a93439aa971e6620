// The host domain's memory.
#pragma once

#include <cstdint>

namespace unetd::cpu {

// 64-byte aligned and zeroed where it is large; null if there is none. Large blocks are mapped at 2
// MiB boundaries and ask for huge pages.
void* AllocateHost(uint64_t bytes);
// `bytes` as allocated; null is let pass.
void FreeHost(void* address, uint64_t bytes);

}  // namespace unetd::cpu
