// The CPU: its name, and which of the two sets of kernels it runs.
#pragma once

#include <string>
#include <string_view>

#include "backends/memory_efficient/answer.h"
#include "backends/memory_efficient/kernels.h"

namespace unetd::memory_efficient {

struct Machine {
  std::string model;     // "AMD EPYC 9B45"
  const char* isa = "";  // "avx2" or "avx512"
  const Kernels* kernels = nullptr;
};

// `isa` is the plugin's option: auto, avx2 or avx512.
Answer FindMachine(std::string_view isa, Machine* machine);

}  // namespace unetd::memory_efficient
