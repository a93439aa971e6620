// The emulator is as strict as its header says: what the plugin must not do is found out.
#include "tests/npu/emulator/emulator.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "backends/npu/cann.h"
#include "tests/npu/harness.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

// A function of the emulated CANN: Call<decltype(aclrtFree)>("ascendcl", "aclrtFree").
template <typename Function>
Function* Call(const char* library, const char* name) {
  void* handle = dlopen((CannFolder("full") + "/lib" + library + ".so").c_str(), RTLD_LAZY);
  void* symbol = handle == nullptr ? nullptr : dlsym(handle, name);
  Function* function = nullptr;
  std::memcpy(&function, &symbol, sizeof(symbol));
  return function;
}
#define RUNTIME(name) Call<decltype(::name)>("ascendcl", #name)
#define BASE(name) Call<decltype(::name)>("nnopbase", #name)
#define OPERATOR(name) Call<decltype(::name)>("opapi", #name)

// A device with a context, a stream, and tensors of one small attention.
class Emulator : public ::testing::Test {
 protected:
  void SetUp() override {
    RUNTIME(aclInit)(nullptr);
    ASSERT_EQ(RUNTIME(aclrtSetDevice)(0), 0);
    ASSERT_EQ(RUNTIME(aclrtCreateContext)(&context_, 0), 0);
    ASSERT_EQ(RUNTIME(aclrtCreateStream)(&stream_), 0);
    ASSERT_EQ(RUNTIME(aclrtMalloc)(&memory_, kBytes, ACL_MEM_MALLOC_HUGE_FIRST), 0);
    ASSERT_EQ(RUNTIME(aclrtMalloc)(&workspace_, kBytes, ACL_MEM_MALLOC_HUGE_FIRST), 0);
    for (auto& tensor : streams_) tensor = Tensor(ACL_FLOAT16, {1, 1, 4, 8}, {32, 32, 8, 1});
    for (auto& tensor : softmax_) tensor = Tensor(ACL_FLOAT, {1, 1, 4, 8}, {32, 32, 8, 1});
  }
  void TearDown() override {
    for (auto* tensor :
         {streams_[0], streams_[1], streams_[2], streams_[3], softmax_[0], softmax_[1]}) {
      EXPECT_EQ(BASE(aclDestroyTensor)(tensor), 0);
    }
    EXPECT_EQ(RUNTIME(aclrtFree)(memory_), 0);
    EXPECT_EQ(RUNTIME(aclrtFree)(workspace_), 0);
    EXPECT_EQ(RUNTIME(aclrtDestroyStream)(stream_), 0);
    EXPECT_EQ(RUNTIME(aclrtDestroyContext)(context_), 0);
    EXPECT_EQ(RUNTIME(aclrtResetDevice)(0), 0);
    ExpectNoLeaks();
  }

  aclTensor* Tensor(aclDataType type, const int64_t (&dims)[4], const int64_t (&strides)[4]) {
    const int64_t storage = kBytes / 4;
    return BASE(aclCreateTensor)(dims, 4, type, strides, 0, ACL_FORMAT_ND, &storage, 1, memory_);
  }
  aclnnStatus First(const aclTensor* query, aclOpExecutor** executor) {
    char layout[] = "BNSD";
    return OPERATOR(aclnnFlashAttentionScoreGetWorkspaceSize)(
        query, streams_[1], streams_[2], nullptr, nullptr, nullptr, nullptr, nullptr, 1, 1,
        INT32_MAX, INT32_MAX, 1, layout, 0, 0, softmax_[0], softmax_[1], nullptr, streams_[3],
        &needed_, executor);
  }
  aclnnStatus Second(aclOpExecutor* executor) {
    return OPERATOR(aclnnFlashAttentionScore)(workspace_, needed_, executor, stream_);
  }
  static std::string Words() { return RUNTIME(aclGetRecentErrMsg)(); }

  static constexpr int64_t kBytes = 4096;
  aclrtContext context_ = nullptr;
  aclrtStream stream_ = nullptr;
  void* memory_ = nullptr;
  void* workspace_ = nullptr;
  uint64_t needed_ = 0;
  aclTensor* streams_[4] = {};
  aclTensor* softmax_[2] = {};
};

TEST_F(Emulator, AnExecutorServesOnce) {
  aclOpExecutor* executor = nullptr;
  ASSERT_EQ(First(streams_[0], &executor), 0);
  EXPECT_EQ(Second(executor), 0);
  EXPECT_EQ(Second(executor), ACLNN_ERR_RUNTIME_ERROR);
  EXPECT_THAT(Words(), HasSubstr("was used already"));
  EXPECT_EQ(RUNTIME(aclrtSynchronizeStream)(stream_), 0);
}

TEST_F(Emulator, ATensorMustLiveUntilTheSecondStage) {
  aclOpExecutor* executor = nullptr;
  aclTensor* query = Tensor(ACL_FLOAT16, {1, 1, 4, 8}, {32, 32, 8, 1});
  ASSERT_EQ(First(query, &executor), 0);
  EXPECT_EQ(BASE(aclDestroyTensor)(query), 0);
  EXPECT_EQ(Second(executor), ACLNN_ERR_RUNTIME_ERROR);
  EXPECT_EQ(BASE(aclDestroyTensor)(query), ACLNN_ERR_PARAM_INVALID) << "given back twice";
}

TEST_F(Emulator, ArgumentsHaveCannsCodes) {
  aclOpExecutor* executor = nullptr;
  EXPECT_EQ(First(nullptr, &executor), ACLNN_ERR_PARAM_NULLPTR);
  aclTensor* other = Tensor(ACL_BF16, {1, 1, 4, 8}, {32, 32, 8, 1});
  EXPECT_EQ(First(other, &executor), ACLNN_ERR_PARAM_INVALID);
  EXPECT_THAT(Words(), HasSubstr("the dtypes differ"));
  EXPECT_EQ(BASE(aclDestroyTensor)(other), 0);
  // On the host.
  int64_t host[4] = {1, 1, 1, 1};
  EXPECT_EQ(BASE(aclCreateTensor)(host, 4, ACL_FLOAT, host, 0, ACL_FORMAT_ND, host, 4, host),
            nullptr);
  EXPECT_EQ(RUNTIME(aclrtMemcpy)(host, 8, host, 8, ACL_MEMCPY_DEVICE_TO_HOST), 107017);
  EXPECT_EQ(RUNTIME(aclInit)(nullptr), ACL_ERROR_REPEAT_INITIALIZE);
}

TEST_F(Emulator, AStreamIsLate) {
  uint64_t host = 1;
  ASSERT_EQ(RUNTIME(aclrtMemset)(memory_, 8, 7, 8), 0);
  cann_emulator::HoldStreams(true);
  ASSERT_EQ(RUNTIME(aclrtMemcpyAsync)(&host, 8, memory_, 8, ACL_MEMCPY_DEVICE_TO_HOST, stream_), 0);
  EXPECT_EQ(host, 1u) << "nobody has waited";
  cann_emulator::HoldStreams(false);
  ASSERT_EQ(RUNTIME(aclrtSynchronizeStream)(stream_), 0);
  EXPECT_EQ(host, 0x0707070707070707u);
}

TEST_F(Emulator, AThreadNeedsAContext) {
  ASSERT_EQ(RUNTIME(aclrtDestroyContext)(context_), 0);
  void* address = nullptr;
  EXPECT_EQ(RUNTIME(aclrtMalloc)(&address, 8, ACL_MEM_MALLOC_HUGE_FIRST), 107002);
  EXPECT_EQ(RUNTIME(aclrtSetCurrentContext)(context_), 107002);
  ASSERT_EQ(RUNTIME(aclrtCreateContext)(&context_, 0), 0);
}

TEST_F(Emulator, KernelsStartFromPoison) {
  // A kernel that faults leaves what was there; one that runs leaves no byte of it.
  ASSERT_EQ(RUNTIME(aclrtMemset)(workspace_, kBytes, 0, kBytes), 0);
  ASSERT_EQ(RUNTIME(aclrtMemset)(memory_, kBytes, 0, kBytes), 0);
  aclOpExecutor* executor = nullptr;
  ASSERT_EQ(First(streams_[0], &executor), 0);
  ASSERT_EQ(Second(executor), 0);
  ASSERT_EQ(RUNTIME(aclrtSynchronizeStream)(stream_), 0);
  uint8_t last = 0;
  ASSERT_EQ(RUNTIME(aclrtMemcpy)(&last, 1, static_cast<uint8_t*>(workspace_) + needed_ - 1, 1,
                                 ACL_MEMCPY_DEVICE_TO_HOST),
            0);
  EXPECT_EQ(last, 0xff);
}

// A stream of the caller's own, for run and copy.
TEST(NpuStream, RunAndCopyOnAGivenStream) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  const AttentionCase test{.queries = 8, .keys = 9, .heads = 2, .head_dim = 8, .rows = 1};
  const auto expected = RunNpu(*backend, test);
  const auto run = NpuRun::Create(*backend, test);
  ASSERT_TRUE(expected.ok() && run.ok());
  aclrtStream stream = nullptr;
  ASSERT_EQ(RUNTIME(aclrtCreateStream)(&stream), 0);
  cann_emulator::HoldStreams(true);
  const Status enqueued = run->Enqueue(nullptr, stream);
  const std::vector<uint8_t> result = expected->bytes[0];
  void* host = nullptr;
  ASSERT_EQ(RUNTIME(aclrtMallocHost)(&host, result.size()), 0);
  const Status copied =
      (*backend)->Copy(host, run->DstAddress(0), result.size(), UNETD_COPY_FROM_DOMAIN, stream);
  EXPECT_NE(std::memcmp(host, result.data(), result.size()), 0) << "it waited";
  cann_emulator::HoldStreams(false);
  ASSERT_TRUE(enqueued.ok() && copied.ok());
  ASSERT_EQ(RUNTIME(aclrtSynchronizeStream)(stream), 0);
  EXPECT_EQ(std::memcmp(host, result.data(), result.size()), 0);
  EXPECT_EQ(RUNTIME(aclrtFreeHost)(host), 0);
  EXPECT_EQ(RUNTIME(aclrtDestroyStream)(stream), 0);
}

}  // namespace
}  // namespace unetd::test
