// The domain: memory, copies, several at once, and that everything is given back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "tests/npu/harness.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

std::vector<uint8_t> Ramp(size_t bytes, uint8_t first) {
  std::vector<uint8_t> values(bytes);
  std::iota(values.begin(), values.end(), first);
  return values;
}

TEST(NpuDevice, CopiesInOutAndWithin) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const Backend& npu = **backend;
  auto first = DeviceBuffer::Create(*backend, 5000);
  auto second = DeviceBuffer::Create(*backend, 5000);
  ASSERT_TRUE(first.ok() && second.ok());
  const std::vector<uint8_t> sent = Ramp(5000, 7);
  std::vector<uint8_t> got(5000);
  ASSERT_TRUE(npu.Copy(first->data(), sent.data(), 5000, UNETD_COPY_TO_DOMAIN).ok());
  ASSERT_TRUE(npu.Copy(second->data(), first->data(), 5000, UNETD_COPY_WITHIN).ok());
  ASSERT_TRUE(npu.Copy(got.data(), second->data(), 5000, UNETD_COPY_FROM_DOMAIN).ok());
  EXPECT_EQ(got, sent);
  // A part, at an odd place.
  ASSERT_TRUE(npu.Copy(got.data(), first->data() + 100, 33, UNETD_COPY_FROM_DOMAIN).ok());
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + 33, sent.begin() + 100));
}

TEST(NpuDevice, CopyRefusesNonsense) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  auto buffer = DeviceBuffer::Create(*backend, 64);
  ASSERT_TRUE(buffer.ok());
  std::vector<uint8_t> host(128);
  EXPECT_THAT((*backend)->Copy(host.data(), host.data(), 64, 9).message(),
              HasSubstr("unknown copy direction 9"));
  // CANN's own words, with what was called and its status.
  EXPECT_THAT(
      (*backend)->Copy(host.data(), buffer->data(), 65, UNETD_COPY_FROM_DOMAIN).message(),
      HasSubstr("aclrtMemcpy: status 107017: aclrtMemcpy: an address is on the wrong side"));
}

TEST(NpuDevice, TooMuchMemoryIsNoMemory) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const auto buffer = DeviceBuffer::Create(*backend, uint64_t{1} << 40);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.status().code(), Code::kResourceExhausted);
  EXPECT_THAT(buffer.status().message(), HasSubstr("1099511627776 bytes: aclrtMalloc: status"));
}

// What the emulator is worth: a host that reads device memory itself is found out.
TEST(NpuDeviceDeathTest, TheHostCannotTouchDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  auto buffer = DeviceBuffer::Create(*backend, 64);
  ASSERT_TRUE(buffer.ok());
  EXPECT_DEATH(
      {
        volatile uint8_t* data = buffer->data();
        const uint8_t value = data[0];
        std::exit(value == 0 ? 0 : 1);
      },
      "");
}

TEST(NpuDevice, EveryThreadMayCall) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  std::vector<std::thread> threads;
  for (uint8_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      auto buffer = DeviceBuffer::Create(*backend, 1000);
      ASSERT_TRUE(buffer.ok()) << buffer.status().message();
      const std::vector<uint8_t> sent = Ramp(1000, i);
      std::vector<uint8_t> got(1000);
      EXPECT_TRUE((*backend)->Copy(buffer->data(), sent.data(), 1000, UNETD_COPY_TO_DOMAIN).ok());
      EXPECT_TRUE((*backend)->Copy(got.data(), buffer->data(), 1000, UNETD_COPY_FROM_DOMAIN).ok());
      EXPECT_EQ(got, sent);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(NpuDevice, ClosingGivesEverythingBack) {
  {
    const auto backend = OpenNpu();
    ASSERT_TRUE(backend.ok());
    EXPECT_EQ(cann_emulator::CountLeaks().contexts, 1);
    EXPECT_EQ(cann_emulator::CountLeaks().streams, 1);
    ASSERT_TRUE(RunNpu(*backend, {.mask = Mask::kEach}).ok());
    const cann_emulator::Leaks open = cann_emulator::CountLeaks();
    EXPECT_EQ(open.tensors, 0);
    EXPECT_EQ(open.executors, 0) << "what prepare asked CANN must be given back, too";
    EXPECT_EQ(open.buffers, 1) << "the probe";
  }
  ExpectNoLeaks();
}

// Closed with work on its way.
TEST(NpuDevice, ClosingWaits) {
  const uint64_t before = cann_emulator::CountRuns();
  {
    const auto backend = OpenNpu();
    ASSERT_TRUE(backend.ok());
    const auto run = NpuRun::Create(*backend, {.rows = 4});
    ASSERT_TRUE(run.ok());
    ASSERT_TRUE(run->Enqueue().ok());
  }
  EXPECT_EQ(cann_emulator::CountRuns() - before, 4u);
  ExpectNoLeaks();
}

// aclrtResetDevice takes the whole device down: the first to close must leave it to the last.
TEST(NpuDevice, TwoOfOneDevice) {
  auto first = OpenNpu();
  const auto second = OpenNpu();
  ASSERT_TRUE(first.ok() && second.ok());
  *first = nullptr;
  ExpectReference(*second, {});
}

}  // namespace
}  // namespace unetd::test
