// What this machine's CPU is and can do.
#pragma once

#include <string>

namespace unetd::cpu {

struct CpuInfo {
  std::string model;    // "AMD EPYC 9B45"
  bool avx2 = false;    // AVX2, FMA and F16C
  bool avx512 = false;  // AVX-512 F, BW, VL and DQ besides
  bool bf16 = false;    // AVX512_BF16 besides
};

CpuInfo ReadCpuInfo();

}  // namespace unetd::cpu
