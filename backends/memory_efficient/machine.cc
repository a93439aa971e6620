#include "backends/memory_efficient/machine.h"

#include <cpuid.h>

#include <array>
#include <cstring>

namespace unetd::memory_efficient {
namespace {

// The brand string: three leaves of sixteen characters.
std::string Brand() {
  std::array<unsigned, 12> words{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* w = &words[4 * leaf];
    if (__get_cpuid(0x80000002u + leaf, w, w + 1, w + 2, w + 3) == 0) return "unknown CPU";
  }
  std::array<char, sizeof(words) + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof(words));
  std::string brand;
  for (const char* c = text.data(); *c != '\0'; ++c) {
    const bool space = *c == ' ' && (brand.empty() || brand.back() == ' ');
    if (!space && *c >= ' ' && *c <= '~') brand += *c;
  }
  while (!brand.empty() && brand.back() == ' ') brand.pop_back();
  return brand.empty() ? "unknown CPU" : brand;
}

// __builtin_cpu_supports asks whether the system saves the registers, too; clang's knows no f16c.
bool HasAvx2() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 29 & 1) != 0;
}
bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

}  // namespace

Answer FindMachine(std::string_view isa, Machine* machine) {
  if (isa != "auto" && isa != "avx2" && isa != "avx512") {
    return Invalid("option isa: expected auto, avx2 or avx512");
  }
  __builtin_cpu_init();
  machine->model = Brand();
  if (!HasAvx2()) {
    return Unsupported(machine->model + " lacks AVX2, FMA or F16C, which this backend needs");
  }
  if (isa == "avx512" && !HasAvx512()) {
    return Unsupported("option isa: " + machine->model + " has no AVX-512 (F, BW, VL and DQ)");
  }
  const bool wide = isa == "avx512" || (isa == "auto" && HasAvx512());
  machine->isa = wide ? "avx512" : "avx2";
  machine->kernels = wide ? &avx512::kKernels : &avx2::kKernels;
  return Ok();
}

}  // namespace unetd::memory_efficient
