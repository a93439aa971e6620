// Every call into CANN fails once: the error is clean, nothing is left, and the next try works.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "tests/npu/harness.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

std::mutex log_mutex;
std::string log_text;

void KeepLog(int32_t, const char* text) {
  const std::lock_guard lock(log_mutex);
  log_text += std::string(text) + "\n";
}

// Everything that a server does with the backend, from open to close.
Status Scenario(const std::string& variant) {
  ASSIGN_OR_RETURN(const auto backend, OpenNpu(variant, {}, KeepLog));
  const AttentionCase test{.queries = 3, .keys = 4, .heads = 2, .head_dim = 8, .mask = Mask::kEach};
  ASSIGN_OR_RETURN(const NpuRun run, NpuRun::Create(backend, test));
  ASSIGN_OR_RETURN(auto copy, DeviceBuffer::Create(backend, 64));
  ASSIGN_OR_RETURN(auto other, DeviceBuffer::Create(backend, 64));
  RETURN_IF_ERROR(backend->Copy(copy.data(), other.data(), 64, UNETD_COPY_WITHIN));
  RETURN_IF_ERROR(run.Enqueue());
  return run.Result().status();
}

class NpuFailures : public ::testing::TestWithParam<const char*> {};

TEST_P(NpuFailures, EveryCallOnce) {
  // The first opening of the process: aclInit must be tried again after it failed.
  std::set<std::string> failed;
  uint64_t n = 1;
  for (;; ++n) {
    ASSERT_LT(n, 1000u);
    log_text.clear();
    cann_emulator::FailCall(n);
    const Status status = Scenario(GetParam());
    const std::string function = cann_emulator::FailedCall();
    cann_emulator::FailCall(0);
    if (function.empty()) {
      EXPECT_TRUE(status.ok()) << status.message();
      break;
    }
    failed.insert(function);
    SCOPED_TRACE("call " + std::to_string(n) + ", " + function);
    // An error, or, where nothing can come of it, a line in the log: with CANN's words.
    const std::string words = status.ok() ? log_text : status.message();
    EXPECT_THAT(words, HasSubstr(function));
    EXPECT_THAT(words, HasSubstr("injected failure"));
    ExpectNoLeaks();
    const Status again = Scenario(GetParam());
    EXPECT_TRUE(again.ok()) << again.message();
    ExpectNoLeaks();
  }
  // The loop must have come by everything that the plugin calls.
  std::set<std::string> expected = {"aclInit",
                                    "aclrtGetDeviceCount",
                                    "aclrtSetDevice",
                                    "aclrtResetDevice",
                                    "aclrtCreateContext",
                                    "aclrtSetCurrentContext",
                                    "aclrtCreateStream",
                                    "aclrtDestroyContext",
                                    "aclrtDestroyStream",
                                    "aclrtMalloc",
                                    "aclrtSynchronizeStream",
                                    "aclrtFree",
                                    "aclrtMemcpy",
                                    "aclrtMemcpyAsync",
                                    "aclCreateTensor",
                                    "aclDestroyTensor",
                                    "aclSetAclOpExecutorRepeatable",
                                    "aclDestroyAclOpExecutor"};
  const std::string operation = std::string(GetParam()) == "prompt" ? "aclnnPromptFlashAttentionV3"
                                                                    : "aclnnFlashAttentionScore";
  expected.insert(operation);
  expected.insert(operation + "GetWorkspaceSize");
  EXPECT_EQ(failed, expected);
}

INSTANTIATE_TEST_SUITE_P(All, NpuFailures, ::testing::Values("full", "prompt"),
                         [](const auto& info) { return std::string(info.param); });

// The plugin that saw the failure goes on, without being opened again.
TEST(NpuFailure, TheSamePluginWorksAfterIt) {
  const auto backend = OpenNpu("full", {}, KeepLog);
  ASSERT_TRUE(backend.ok());
  uint64_t failures = 0;
  for (uint64_t n = 1;; ++n) {
    cann_emulator::FailCall(n);
    const auto failing = RunNpu(*backend, {.queries = 3, .keys = 4, .head_dim = 8});
    const bool injected = !cann_emulator::FailedCall().empty();
    cann_emulator::FailCall(0);
    if (!injected) break;
    failures += failing.ok() ? 0 : 1;
    const auto again = RunNpu(*backend, {.queries = 3, .keys = 4, .head_dim = 8});
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(cann_emulator::CountLeaks().tensors, 0);
    EXPECT_EQ(cann_emulator::CountLeaks().executors, 0);
    EXPECT_EQ(cann_emulator::CountLeaks().buffers, 1);
  }
  EXPECT_GT(failures, 10u);
}

// A kernel that faults on the device is heard of at the next copy.
TEST(NpuFailure, AFaultOfAKernelShowsAtTheCopy) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  auto prepared = (*backend)->Prepare(Descriptor({}));
  auto workspace = DeviceBuffer::Create(*backend, prepared->workspace_bytes());
  auto small = DeviceBuffer::Create(*backend, 64);  // the operator reads and writes beyond it
  ASSERT_TRUE(prepared.ok() && workspace.ok() && small.ok());
  uint8_t* rows[] = {small->data()};
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = 1;
  exec.spaces[UNETD_SPACE_ARENA] = rows;
  exec.workspace = workspace->data();
  unetd_args args{};
  args.struct_size = sizeof(args);
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    args.args[arg] = {0, UNETD_SPACE_ARENA, 1};
  }
  ASSERT_TRUE(prepared->Run(exec, args).ok());
  std::vector<uint8_t> host(64);
  const Status status = (*backend)->Copy(host.data(), small->data(), 64, UNETD_COPY_FROM_DOMAIN);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("aclrtSynchronizeStream: status 507015"));
}

// A host address where a device's is expected.
TEST(NpuFailure, AHostAddressIsRefused) {
  const auto backend = OpenNpu();
  ASSERT_TRUE(backend.ok());
  auto prepared = (*backend)->Prepare(Descriptor({}));
  auto workspace = DeviceBuffer::Create(*backend, prepared->workspace_bytes());
  ASSERT_TRUE(prepared.ok() && workspace.ok());
  std::vector<uint8_t> host(1 << 16);
  uint8_t* rows[] = {host.data()};
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = 1;
  exec.spaces[UNETD_SPACE_ARENA] = rows;
  unetd_args args{};
  args.struct_size = sizeof(args);
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    args.args[arg] = {0, UNETD_SPACE_ARENA, 1};
  }
  EXPECT_THAT(prepared->Run(exec, args).message(), HasSubstr("no workspace is given"));
  exec.workspace = workspace->data();
  EXPECT_THAT(prepared->Run(exec, args).message(),
              HasSubstr("row 0: aclCreateTensor made no query: aclCreateTensor: the data is not on "
                        "the device"));
  args.args[UNETD_ARG_KEY].present = 0;
  EXPECT_THAT(prepared->Run(exec, args).message(), HasSubstr("key is not given"));
}

}  // namespace
}  // namespace unetd::test
