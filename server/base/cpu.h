// What this machine offers to this process: CPU model and features, cores, memory.
#pragma once

#include <cstdint>
#include <string>

namespace unetd {

// Instruction sets that the CPU has and the system has switched on; all false where the CPU is not
// x86-64.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
  bool avx512_bf16 = false;
};

const CpuFeatures& ThisCpu();
std::string CpuFeatureNames(const CpuFeatures& features);  // "avx2 fma f16c"; "none"
std::string CpuModel();                                    // "AMD EPYC"; "unknown CPU"

// Cores that this process may use: the smallest of its affinity mask and its control group's quota
// (rounded up); >= 1.
unsigned CpuCount();

// Bytes of memory that this process may use: the smallest of the machine's and its control group's
// limit.
uint64_t MachineMemoryBytes();

uint64_t ResidentBytes();      // of this process now; 0 if unknown
uint64_t PeakResidentBytes();  // the most so far; 0 if unknown

}  // namespace unetd
