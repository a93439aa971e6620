// The suite's own eyes: a kernel that writes where it must not, asks for too little, leaves
// elements out or is slightly wrong must be found out. Each of these kernels is the reference's
// with one fault.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "server/backend/reference.h"
#include "tests/providers/cases.h"
#include "tests/providers/compare.h"
#include "tests/support/operator_run.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

using Fault = void (*)(const unetd_exec& exec, const unetd_args& args);
Fault the_fault = nullptr;

uint8_t* AddressOf(const unetd_exec& exec, const unetd_args& args, uint32_t arg) {
  return exec.spaces[args.args[arg].space][0] + args.args[arg].offset;
}

const unetd_backend* FaultyBackend() {
  static const unetd_backend table = [] {
    unetd_backend t = *ReferenceBackend();
    t.name = "faulty";
    t.run = [](void* state, const void* handle, const unetd_exec* exec, const unetd_args* args,
               unetd_error* error) {
      const int32_t result = ReferenceBackend()->run(state, handle, exec, args, error);
      the_fault(*exec, *args);
      return result;
    };
    return t;
  }();
  return &table;
}

// One linear layer of 3 tokens, [3, 8] -> [3, 5] with gaps, as float32.
OperatorCase Small() {
  OperatorCase test = NewCase("small", UNETD_OP_LINEAR, UNETD_DTYPE_F32);
  test.desc.u.linear = {1, {5}, 0, UNETD_ACT_NONE, 1.0f};
  SetView(test, UNETD_ARG_SRC0, 3, 8, UNETD_DTYPE_F32, 1);
  SetView(test, UNETD_ARG_DST, 3, 5, UNETD_DTYPE_F32, 2);
  SetWeight(test, 0, {5, 8}, 1 / std::sqrt(8));
  Allow(test, SumError(8));
  return test;
}

class Harness : public ::testing::Test {
 protected:
  StatusOr<RunResult> RunWith(Fault fault) {
    the_fault = fault;
    auto backend = Backend::Open(FaultyBackend(), {}, "a test");
    EXPECT_TRUE(backend.ok());
    auto runner = OperatorRunner::Create(*backend, *backend, Small());
    EXPECT_TRUE(runner.ok()) << runner.status().message();
    return runner->Run();
  }
  // The worst difference from the faultless result, in units of what is allowed.
  double Worst(Fault fault) {
    const auto right = RunWith([](const unetd_exec&, const unetd_args&) {});
    const auto wrong = RunWith(fault);
    EXPECT_TRUE(right.ok() && wrong.ok());
    return right.ok() && wrong.ok() ? Compare(Small(), *wrong, *right).worst : 0;
  }
};

TEST_F(Harness, AFaultlessKernelPasses) {
  EXPECT_EQ(Worst([](const unetd_exec&, const unetd_args&) {}), 0);
}

TEST_F(Harness, SeesWritesBetweenTokens) {
  const auto run = RunWith([](const unetd_exec& exec, const unetd_args& args) {
    AddressOf(exec, args, UNETD_ARG_DST)[5 * 4] = 0;
  });
  EXPECT_THAT(run.status().message(), HasSubstr("wrote outside dst"));
}

TEST_F(Harness, SeesWritesBeyondTheEndAndBeforeTheBeginning) {
  auto run = RunWith([](const unetd_exec& exec, const unetd_args& args) {
    AddressOf(exec, args, UNETD_ARG_DST)[(2 * 7 + 5) * 4] = 0;
  });
  EXPECT_THAT(run.status().message(), HasSubstr("wrote outside dst"));
  run = RunWith([](const unetd_exec& exec, const unetd_args& args) {
    AddressOf(exec, args, UNETD_ARG_DST)[-1] = 0;
  });
  EXPECT_THAT(run.status().message(), HasSubstr("wrote outside dst"));
}

TEST_F(Harness, SeesWritesToAnInput) {
  const auto run = RunWith([](const unetd_exec& exec, const unetd_args& args) {
    AddressOf(exec, args, UNETD_ARG_SRC0)[0] ^= 1;
  });
  EXPECT_THAT(run.status().message(), HasSubstr("wrote outside dst"));
}

TEST_F(Harness, SeesWritesBeyondTheWorkspace) {
  const auto run = RunWith([](const unetd_exec& exec, const unetd_args&) {
    exec.thread_workspace[exec.thread_workspace_stride] = 0;
  });
  EXPECT_THAT(run.status().message(), HasSubstr("beyond the bytes that it asked for"));
}

TEST_F(Harness, SeesElementsThatWereLeftOut) {
  EXPECT_EQ(Worst([](const unetd_exec& exec, const unetd_args& args) {
              std::memset(AddressOf(exec, args, UNETD_ARG_DST) + 4, 0xff, 4);
            }),
            INFINITY);
}

TEST_F(Harness, SeesASmallError) {
  EXPECT_GT(Worst([](const unetd_exec& exec, const unetd_args& args) {
              auto* dst = reinterpret_cast<float*>(AddressOf(exec, args, UNETD_ARG_DST));
              dst[3] += 2e-5f;
            }),
            1);
}

// What two neighbouring float16 numbers differ by is allowed, twice that is not.
TEST(Tolerance, AllowsOneUnitInTheLastPlace) {
  OperatorCase test = Small();
  test.desc.args[UNETD_ARG_DST].dtype = UNETD_DTYPE_F16;
  Allow(test, 0);
  RunResult expected, near, far;
  expected.values = {{1.5f}};
  near.values = {{1.5f + 0x1p-10f}};
  far.values = {{1.5f + 0x1p-9f}};
  EXPECT_LE(Compare(test, near, expected).worst, 1);
  EXPECT_GT(Compare(test, far, expected).worst, 1);
}

}  // namespace
}  // namespace unetd::test
