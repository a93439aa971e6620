// Runs a case on the reference provider.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "server/backend/reference.h"
#include "tests/support/operator_run.h"

namespace unetd::test {

inline constexpr int32_t kF32 = UNETD_DTYPE_F32;

inline std::shared_ptr<Backend> OpenReference() {
  auto backend = Backend::Open(ReferenceBackend(), {}, "built in");
  EXPECT_TRUE(backend.ok());
  return *backend;
}

// One row's inputs, given as they are.
inline void Give(OperatorCase& test, uint32_t arg, std::vector<float> values) {
  test.fill[arg] = [values](uint32_t) { return values; };
}

// One row through the reference.
inline std::vector<float> Compute(OperatorCase test) {
  const auto backend = OpenReference();
  test.rows = 1;
  auto runner = OperatorRunner::Create(backend, backend, test);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (!runner.ok()) return {};
  auto run = runner->Run();
  EXPECT_TRUE(run.ok()) << run.status().message();
  return run.ok() ? run->values[0] : std::vector<float>{};
}

// The values that the runner gives weight `index`.
inline std::vector<float> Weights(const OperatorCase& test, uint32_t index) {
  return test.weights.at(index).Values(index, test.desc.weight_dtype);
}

}  // namespace unetd::test
