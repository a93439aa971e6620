#include "server/base/cpu.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "server/base/cgroup.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace unetd {
namespace {

CgroupLimits ThisGroup() { return ReadCgroupLimits("/proc/self/cgroup", "/sys/fs/cgroup"); }

CpuFeatures ReadFeatures() {
  CpuFeatures features;
#if defined(__x86_64__)
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return features;
  const uint32_t leaf1 = c;
  // XCR0: which registers the system saves.
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const bool ymm = (low & 0x6) == 0x6;
  const bool zmm = (low & 0xE6) == 0xE6;
  uint32_t leaf7 = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) leaf7 = b;
  features.avx2 = ymm && (leaf7 & (1u << 5));
  features.fma = ymm && (leaf1 & (1u << 12));
  features.f16c = ymm && (leaf1 & (1u << 29));
  features.avx512f = zmm && (leaf7 & (1u << 16));
  features.avx512dq = zmm && (leaf7 & (1u << 17));
  features.avx512bw = zmm && (leaf7 & (1u << 30));
  features.avx512vl = zmm && (leaf7 & (1u << 31));
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    features.avx512_bf16 = features.avx512f && (a & (1u << 5));
  }
#endif
  return features;
}

// The value of "key: value" in a file of such lines; "" if there is none.
std::string LineValue(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!std::string_view(line).starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

}  // namespace

const CpuFeatures& ThisCpu() {
  static const CpuFeatures features = ReadFeatures();
  return features;
}

std::string CpuFeatureNames(const CpuFeatures& features) {
  std::string names;
  const auto add = [&](bool has, const char* name) {
    if (has) names += (names.empty() ? "" : " ") + std::string(name);
  };
  add(features.avx2, "avx2");
  add(features.fma, "fma");
  add(features.f16c, "f16c");
  add(features.avx512f, "avx512f");
  add(features.avx512bw, "avx512bw");
  add(features.avx512vl, "avx512vl");
  add(features.avx512dq, "avx512dq");
  add(features.avx512_bf16, "avx512_bf16");
  return names.empty() ? "none" : names;
}

std::string CpuModel() {
  const std::string model = LineValue("/proc/cpuinfo", "model name");
  return model.empty() ? "unknown CPU" : model;
}

unsigned CpuCount() {
  unsigned count = std::max(1u, std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    count = static_cast<unsigned>(CPU_COUNT(&set));
  }
  if (const auto cpus = ThisGroup().cpus; cpus && *cpus < count) {
    count = static_cast<unsigned>(std::ceil(*cpus));
  }
  return count;
}

uint64_t MachineMemoryBytes() {
  const uint64_t pages = static_cast<uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  const uint64_t machine = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(machine, ThisGroup().memory.value_or(machine));
}

uint64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  if (!(in >> total >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t PeakResidentBytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace unetd
