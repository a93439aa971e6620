// The C++ side of the ABI: return codes, ownership, bounds.
#include "server/backend/backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <thread>
#include <vector>

#include "server/backend/plugin_text.h"
#include "tests/backend/recorder.h"

namespace unetd {
namespace {

using test::RecorderTable;
using test::TheRecorder;
using ::testing::HasSubstr;

class BackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TheRecorder().~Recorder();
    new (&TheRecorder()) test::Recorder();
  }
  std::shared_ptr<Backend> Open() {
    auto backend = Backend::Open(RecorderTable(), {}, "a test");
    EXPECT_TRUE(backend.ok()) << backend.status().message();
    return *backend;
  }
};

TEST_F(BackendTest, TellsWhatTheTableAndDescribeSay) {
  const auto backend = Open();
  EXPECT_EQ(backend->name(), "recorder");
  EXPECT_EQ(backend->version(), "1.0");
  EXPECT_EQ(backend->origin(), "a test");
  EXPECT_EQ(backend->domain(), "host");
  EXPECT_TRUE(backend->owns_domain());
}

TEST_F(BackendTest, PassesOptionsInOrder) {
  const std::vector<std::pair<std::string, std::string>> options = {{"threads", "2"},
                                                                    {"isa", "avx2"}};
  ASSERT_TRUE(Backend::Open(RecorderTable(), options, "a test").ok());
  EXPECT_EQ(TheRecorder().options, "threads=2;isa=avx2;");
}

TEST_F(BackendTest, ClosesOnceAfterTheLastUser) {
  auto backend = Open();
  auto prepared = backend->Prepare({});
  ASSERT_TRUE(prepared.ok());
  auto buffer = DeviceBuffer::Create(backend, 10);
  ASSERT_TRUE(buffer.ok());
  backend.reset();
  EXPECT_EQ(TheRecorder().closed, 0);
  *prepared = Prepared();
  EXPECT_EQ(TheRecorder().released, 1);
  EXPECT_EQ(TheRecorder().closed, 0);
  *buffer = DeviceBuffer();
  EXPECT_EQ(TheRecorder().freed, 1);
  EXPECT_EQ(TheRecorder().closed, 1);
}

TEST_F(BackendTest, DoesNotCloseWhatDidNotOpen) {
  TheRecorder().code = UNETD_FAILED;
  EXPECT_FALSE(Backend::Open(RecorderTable(), {}, "a test").ok());
  EXPECT_EQ(TheRecorder().closed, 0);
}

TEST_F(BackendTest, ABadOptionIsTheCallersError) {
  TheRecorder().code = UNETD_INVALID;
  TheRecorder().words = "unknown option 'colour'";
  const Status status = Backend::Open(RecorderTable(), {}, "a test").status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "backend 'recorder' open: unknown option 'colour'");
}

TEST_F(BackendTest, EveryReturnCodeBecomesAStatus) {
  const auto backend = Open();
  const std::pair<int32_t, Code> kCodes[] = {
      {UNETD_OK, Code::kOk},
      {UNETD_UNSUPPORTED, Code::kUnimplemented},
      {UNETD_INVALID, Code::kInternal},
      {UNETD_NO_MEMORY, Code::kResourceExhausted},
      {UNETD_CANCELLED, Code::kCancelled},
      {UNETD_FAILED, Code::kInternal},
      {6, Code::kInternal},
      {-1, Code::kInternal},
  };
  auto prepared = backend->Prepare({});
  ASSERT_TRUE(prepared.ok());
  for (const auto& [code, expected] : kCodes) {
    TheRecorder().code = code;
    TheRecorder().words = "words";
    EXPECT_EQ(backend->Supports({}).code(), expected) << code;
    const Status run = prepared->Run({}, {});
    EXPECT_EQ(run.code(), expected) << code;
    if (code != UNETD_OK) {
      EXPECT_THAT(run.message(), HasSubstr("words"));
    }
    TheRecorder().words = "";
    if (code != UNETD_OK) {
      EXPECT_THAT(prepared->Run({}, {}).message(), HasSubstr("backend 'recorder' run: "));
    }
  }
  EXPECT_THAT(prepared->Run({}, {}).message(), HasSubstr("unknown return code -1"));
}

TEST_F(BackendTest, PreparedMovesAndReleasesOnce) {
  const auto backend = Open();
  {
    auto first = backend->Prepare({});
    ASSERT_TRUE(first.ok());
    Prepared moved = *std::move(first);
    EXPECT_TRUE(moved.valid());
    EXPECT_EQ(moved.workspace_bytes(), 64u);
    EXPECT_EQ(moved.thread_workspace_bytes(), 128u);
    EXPECT_EQ(moved.max_threads(), 3u);
    EXPECT_EQ(moved.description(), "records");
    Prepared other;
    EXPECT_FALSE(other.valid());
    EXPECT_EQ(other.Run({}, {}).code(), Code::kInternal);
    other = std::move(moved);
    EXPECT_TRUE(other.valid());
    EXPECT_EQ(TheRecorder().released, 0);
    auto second = backend->Prepare({});
    other = *std::move(second);
    EXPECT_EQ(TheRecorder().released, 1);
  }
  EXPECT_EQ(TheRecorder().prepared, 2);
  EXPECT_EQ(TheRecorder().released, 2);
}

TEST_F(BackendTest, ARecipeNeedsANameAndBytes) {
  const auto backend = Open();
  const auto recipe = backend->PackRecipe({}, 0);
  ASSERT_TRUE(recipe.ok());
  EXPECT_STREQ(recipe->name, "panels");
  EXPECT_EQ(recipe->bytes, 128u);
  EXPECT_THAT(backend->PackRecipe({}, 1).status().message(),
              HasSubstr("weight 1 got a recipe without a name"));
}

TEST_F(BackendTest, MemoryIsCheckedAndGivenBack) {
  const auto backend = Open();
  {
    auto buffer = DeviceBuffer::Create(backend, 100);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(buffer->bytes(), 100u);
    const uint32_t in = 42;
    uint32_t out = 0;
    ASSERT_TRUE(backend->Copy(buffer->data(), &in, 4, UNETD_COPY_TO_DOMAIN).ok());
    ASSERT_TRUE(backend->Copy(&out, buffer->data(), 4, UNETD_COPY_FROM_DOMAIN).ok());
    EXPECT_EQ(out, 42u);
    DeviceBuffer moved = *std::move(buffer);
    EXPECT_EQ(TheRecorder().freed, 0);
  }
  EXPECT_EQ(TheRecorder().freed, 1);
  TheRecorder().misalign = 8;
  EXPECT_THAT(backend->Allocate(100).status().message(), HasSubstr("not aligned to 64 bytes"));
  EXPECT_EQ(TheRecorder().freed, 2);
  TheRecorder().misalign = 0;
  TheRecorder().null_address = true;
  EXPECT_EQ(backend->Allocate(100).status().code(), Code::kInternal);
  TheRecorder().code = UNETD_NO_MEMORY;
  EXPECT_EQ(backend->Allocate(100).status().code(), Code::kResourceExhausted);
}

TEST_F(BackendTest, NoBytesAreNoCall) {
  const auto backend = Open();
  const auto address = backend->Allocate(0);
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(*address, nullptr);
  backend->Free(nullptr, 0);
  EXPECT_TRUE(backend->Copy(nullptr, nullptr, 0, UNETD_COPY_WITHIN).ok());
  EXPECT_EQ(TheRecorder().allocated, 0);
  EXPECT_EQ(TheRecorder().freed, 0);
}

TEST_F(BackendTest, WithoutADomainThereIsNoMemory) {
  TheRecorder().owns_domain = 0;
  const auto backend = Open();
  EXPECT_EQ(backend->Allocate(64).status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(backend->Copy(nullptr, nullptr, 1, UNETD_COPY_WITHIN).code(),
            Code::kFailedPrecondition);
  EXPECT_EQ(TheRecorder().allocated, 0);
}

TEST_F(BackendTest, OneThreadAtATimeWhereTheAbiSaysSo) {
  const auto backend = Open();
  std::barrier start(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int j = 0; j < 500; ++j) {
        (void)backend->Supports({});
        (void)backend->PackRecipe({}, 0);
        (void)backend->Prepare({});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(TheRecorder().overlapped);
  EXPECT_EQ(TheRecorder().released, 2000);
}

TEST(PluginText, IsBoundedAndPrintable) {
  const char open[4] = {'a', 'b', 'c', 'd'};
  EXPECT_EQ(PluginText(open, 4), "abcd");
  EXPECT_EQ(PluginText("ab", 10), "ab");
  EXPECT_EQ(PluginText(nullptr, 10), "");
  EXPECT_EQ(PluginText("a\x1b[31m\nb\x7f", 20), "a?[31m b?");
  EXPECT_EQ(PluginText("caf\xc3\xa9 \xff", 20), "caf\xc3\xa9 ?");
  // A sequence that the bound cuts, an overlong form, a surrogate.
  EXPECT_EQ(PluginText("caf\xc3\xa9", 4), "caf?");
  EXPECT_EQ(PluginText("\xc0\xaf\xed\xa0\x80", 20), "?????");
}

TEST(IsPluginName, TakesNamesThatAreSafeInPathsAndLogs) {
  EXPECT_TRUE(IsPluginName("memory_efficient", 63));
  EXPECT_TRUE(IsPluginName("a", 63));
  for (const char* bad : {"", "2fast", "Cpu", "a b", "../cpu", "cpu.so", "\xc3\xa9"}) {
    EXPECT_FALSE(IsPluginName(bad, 63)) << bad;
  }
  EXPECT_TRUE(IsPluginName(std::string(63, 'a').c_str(), 63));
  EXPECT_FALSE(IsPluginName(std::string(64, 'a').c_str(), 63));
  EXPECT_FALSE(IsPluginName(nullptr, 63));
}

}  // namespace
}  // namespace unetd
