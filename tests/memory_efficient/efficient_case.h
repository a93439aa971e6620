// Cases of memory-efficient attention, and the plugin opened for each instruction set.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/backend/backend.h"
#include "tests/support/operator_case.h"
#include "tests/support/operator_run.h"

namespace unetd::test {

enum class MaskKind { kNone, kShared, kEach };

struct Efficient {
  uint32_t heads, head_dim;
  uint64_t queries, keys;
  std::string op = "";
  MaskKind mask = MaskKind::kNone;
  int32_t dtype = UNETD_DTYPE_F32;
  uint64_t gap = 0;    // elements between tokens of query, key, value and dst
  uint32_t shift = 0;  // elements that they begin beyond a multiple of 64 bytes
  float spread = 1;    // of queries and keys
};

// With the default fill, a mask of 0 and -10000 among normal values, and what a right result may
// differ by.
OperatorCase MakeCase(const Efficient& e);
std::string Describe(const Efficient& e);

// `arg` of every row is `values`.
void SetValues(OperatorCase& test, uint32_t arg, std::vector<float> values);

const std::shared_ptr<Backend>& ReferenceProvider();

// Runs on the reference provider.
RunResult Expected(const OperatorCase& test);

// Those of avx2 and avx512 that this CPU has.
std::vector<std::string> Isas();

class MemoryEfficient : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  StatusOr<OperatorRunner> Create(const OperatorCase& test) const;
  // Fails the test if the case is refused or does not run.
  RunResult Run(const OperatorCase& test, const RunSetup& setup = {.threads = 2}) const;
  // The words of the refusal; empty if it is served.
  std::string Refusal(const OperatorCase& test) const;
  std::string Description(const OperatorCase& test) const;
  // As the reference provider's, within what the case allows.
  void ExpectClose(const OperatorCase& test) const;

  std::shared_ptr<Backend> backend_;
};

std::shared_ptr<Backend> OpenPlugin(const std::string& isa);

}  // namespace unetd::test
