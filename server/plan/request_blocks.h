// RequestBlocks: the memory that one request owns while it runs: for each row an input, a condition
// and an output block, and a schedule block and a timestep for each step.
#pragma once

#include <memory>

#include "server/plan/runner.h"

namespace unetd {

class RequestBlocks {
 public:
  // Entered in the ledger as kRequests; released by the destructor. Not zeroed.
  static StatusOr<std::unique_ptr<RequestBlocks>> Create(std::shared_ptr<const Plan> plan,
                                                         Ledger& ledger, uint32_t rows,
                                                         uint32_t steps = 1);
  ~RequestBlocks();
  RequestBlocks(const RequestBlocks&) = delete;
  RequestBlocks& operator=(const RequestBlocks&) = delete;

  const Plan& plan() const { return *plan_; }
  uint32_t rows() const { return rows_; }
  uint32_t steps() const { return steps_; }

  // Host address of an input of a row. `name` is one of Plan::inputs (plan().FindInput).
  uint8_t* Input(const PlanInput& input, uint32_t row);
  const float* Output(uint32_t row) const;
  void SetTimestep(uint32_t row, uint32_t step, float timestep);
  // The row as the runner wants it at `step`; all rows are one group.
  RowBlocks Row(uint32_t row, uint32_t step = 0);

 private:
  RequestBlocks() = default;
  uint8_t* RowBase(uint32_t row) const;
  uint8_t* StepBase(uint32_t row, uint32_t step) const;

  std::shared_ptr<const Plan> plan_;
  Ledger* ledger_ = nullptr;
  uint32_t rows_ = 0;
  uint32_t steps_ = 0;
  uint64_t bytes_ = 0;
  DeviceBuffer
      buffer_;  // rows of {input, condition, output}, then steps of rows of {schedule, time}
  uint64_t row_bytes_ = 0;       // input + condition + output
  uint64_t row_step_bytes_ = 0;  // schedule + time
};

}  // namespace unetd
