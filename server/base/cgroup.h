// The limits that Linux control groups (version 2, or 1) put on this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace unetd {

struct CgroupLimits {
  std::optional<double> cpus;      // cores' worth of time
  std::optional<uint64_t> memory;  // bytes
};

// The smallest limits of the process's group and all groups above it. `membership`:
// /proc/self/cgroup; `mount`: /sys/fs/cgroup. What cannot be read counts as no limit.
CgroupLimits ReadCgroupLimits(const std::filesystem::path& membership,
                              const std::filesystem::path& mount);

}  // namespace unetd
