#include "backends/cpu/cpu_info.h"

#include <cpuid.h>

#include <cstring>

namespace unetd::cpu {
namespace {

std::string Model() {
  unsigned words[12];
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, w, w + 1, w + 2, w + 3)) return "unknown CPU";
  }
  char text[sizeof(words) + 1] = {};
  std::memcpy(text, words, sizeof(words));
  std::string model;
  for (const char* c = text; *c != '\0'; ++c) {
    if (*c == ' ' && (model.empty() || model.back() == ' ')) continue;
    if (*c >= ' ' && *c <= '~') model += *c;
  }
  while (!model.empty() && model.back() == ' ') model.pop_back();
  return model.empty() ? "unknown CPU" : model;
}

bool HasF16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1) != 0;
}

}  // namespace

CpuInfo ReadCpuInfo() {
  // These ask whether the system saves the registers, too.
  __builtin_cpu_init();
  CpuInfo info;
  info.model = Model();
  info.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  info.avx512 = info.avx2 && __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512dq");
  info.bf16 = info.avx512 && __builtin_cpu_supports("avx512bf16");
  return info;
}

}  // namespace unetd::cpu
