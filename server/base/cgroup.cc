#include "server/base/cgroup.h"

#include <fstream>
#include <sstream>
#include <string>

namespace unetd {
namespace {

namespace fs = std::filesystem;

// The words of a small file; empty if it cannot be read.
std::istringstream WordsOf(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  return std::istringstream(text.str());
}

void Lower(std::optional<double>& limit, double value) {
  if (value > 0 && (!limit || value < *limit)) limit = value;
}
void Lower(std::optional<uint64_t>& limit, uint64_t value) {
  if (value > 0 && (!limit || value < *limit)) limit = value;
}

void ReadGroup(const fs::path& group, CgroupLimits& limits) {
  double quota = 0, period = 0;
  // Version 2 says "max" where there is no limit, which is no number and stops the reading.
  if (WordsOf(group / "cpu.max") >> quota >> period && period > 0) {
    Lower(limits.cpus, quota / period);
  }
  if (WordsOf(group / "cpu.cfs_quota_us") >> quota &&
      WordsOf(group / "cpu.cfs_period_us") >> period && period > 0) {
    Lower(limits.cpus, quota / period);
  }
  uint64_t bytes = 0;
  if (WordsOf(group / "memory.max") >> bytes) Lower(limits.memory, bytes);
  if (WordsOf(group / "memory.limit_in_bytes") >> bytes) Lower(limits.memory, bytes);
}

}  // namespace

CgroupLimits ReadCgroupLimits(const fs::path& membership, const fs::path& mount) {
  CgroupLimits limits;
  std::ifstream in(membership);
  // Lines are "number:controllers:/path/of/the/group"; version 2 has the number 0 and no
  // controllers.
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = fs::path(line.substr(second + 1)).relative_path();
    const fs::path root = mount / controllers;
    // A container may see its own group as the root, or a path that its mount does not have.
    fs::path below = root;
    ReadGroup(below, limits);
    for (const fs::path& part : group) {
      if (part == "..") break;
      below /= part;
      ReadGroup(below, limits);
    }
  }
  return limits;
}

}  // namespace unetd
