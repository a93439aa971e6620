#include "server/base/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "server/base/cgroup.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;

// The flags that Linux found by its own means.
TEST(ThisCpu, AgreesWithTheSystem) {
  std::ifstream in("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("flags")) flags = line + " ";
  }
  if (flags.empty()) GTEST_SKIP() << "the system lists no flags";
  const auto has = [&](const std::string& flag) {
    return flags.find(" " + flag + " ") != std::string::npos;
  };
  const CpuFeatures& cpu = ThisCpu();
  EXPECT_EQ(cpu.avx2, has("avx2"));
  EXPECT_EQ(cpu.fma, has("fma"));
  EXPECT_EQ(cpu.f16c, has("f16c"));
  EXPECT_EQ(cpu.avx512f, has("avx512f"));
  EXPECT_EQ(cpu.avx512bw, has("avx512bw"));
  EXPECT_EQ(cpu.avx512vl, has("avx512vl"));
  EXPECT_EQ(cpu.avx512dq, has("avx512dq"));
  EXPECT_EQ(cpu.avx512_bf16, has("avx512_bf16"));
}

TEST(CpuFeatureNames, ListsWhatIsThere) {
  EXPECT_EQ(CpuFeatureNames({}), "none");
  CpuFeatures features;
  features.avx2 = features.avx512_bf16 = true;
  EXPECT_EQ(CpuFeatureNames(features), "avx2 avx512_bf16");
}

TEST(CpuModel, IsNotEmpty) { EXPECT_FALSE(CpuModel().empty()); }

TEST(CpuCount, FollowsAffinity) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const unsigned all = CpuCount();
  EXPECT_GE(all, 1u);
  EXPECT_LE(all, static_cast<unsigned>(CPU_COUNT(&before)));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(CpuCount(), 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(Memory, ResidentGrowsWithUse) {
  constexpr size_t kBytes = 64 << 20;
  const uint64_t before = ResidentBytes();
  EXPECT_GT(before, 0u);
  const std::vector<char> block(kBytes, 1);
  EXPECT_GE(ResidentBytes(), before + kBytes / 2) << block[kBytes / 2];
  EXPECT_GE(PeakResidentBytes(), before + kBytes / 2);
  EXPECT_GT(MachineMemoryBytes(), PeakResidentBytes());
}

class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/unetd_cgroup_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  CgroupLimits Read() { return ReadCgroupLimits(root_ / "membership", root_); }

  fs::path root_;
};

TEST_F(Cgroup, NoneWhereNothingIsSaid) {
  EXPECT_FALSE(Read().cpus);
  EXPECT_FALSE(Read().memory);
  Write("membership", "0::/a/b\n");
  Write("a/b/cpu.max", "max 100000\n");
  Write("a/b/memory.max", "max\n");
  EXPECT_FALSE(Read().cpus);
  EXPECT_FALSE(Read().memory);
}

TEST_F(Cgroup, Version2TakesTheSmallestOnTheWay) {
  Write("membership", "0::/a/b\n");
  Write("a/cpu.max", "150000 100000\n");
  Write("a/b/cpu.max", "400000 100000\n");
  Write("a/memory.max", "8000\n");
  Write("a/b/memory.max", "4000\n");
  EXPECT_DOUBLE_EQ(Read().cpus.value(), 1.5);
  EXPECT_EQ(Read().memory.value(), 4000u);
}

TEST_F(Cgroup, Version1HasAFolderAController) {
  Write("membership", "4:memory:/m\n3:cpu,cpuacct:/c\n");
  Write("cpu,cpuacct/c/cpu.cfs_quota_us", "50000\n");
  Write("cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
  Write("memory/m/memory.limit_in_bytes", "12345\n");
  EXPECT_DOUBLE_EQ(Read().cpus.value(), 0.5);
  EXPECT_EQ(Read().memory.value(), 12345u);
  Write("cpu,cpuacct/c/cpu.cfs_quota_us", "-1\n");
  EXPECT_FALSE(Read().cpus);
}

TEST_F(Cgroup, ContainerSeesItsGroupAsTheRoot) {
  Write("membership", "0::/not/mounted/here\n");
  Write("cpu.max", "200000 100000\n");
  Write("memory.max", "777\n");
  EXPECT_DOUBLE_EQ(Read().cpus.value(), 2);
  EXPECT_EQ(Read().memory.value(), 777u);
}

TEST_F(Cgroup, DamagedFilesCountAsNoLimit) {
  Write("membership", "rubbish\n0::/../..\n");
  Write("cpu.max", "100000 0\n");
  Write("memory.max", "-5 apples\n");
  EXPECT_FALSE(Read().cpus);
  Write("cpu.max", "");
  EXPECT_FALSE(Read().cpus);
}

}  // namespace
}  // namespace unetd
