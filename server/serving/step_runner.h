// StepRunner: what the executor runs forwards with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "server/base/status.h"
#include "server/plan/runner.h"

namespace unetd {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // The plan's step section for `rows`. kCancelled at the next operator after `cancel` is set.
  // `times` is Runner::Run's.
  virtual Status Run(const Plan& plan, std::span<const RowBlocks> rows, const CancelFlag& cancel,
                     std::span<OperatorTime> times) = 0;
  // Rows that one run takes in the memory that is there already.
  virtual uint32_t Room(const Plan& plan) = 0;
};

// A domain's runner, which outlives it. What the runner throws becomes a status.
std::unique_ptr<StepRunner> MakeStepRunner(Runner& runner);

}  // namespace unetd
