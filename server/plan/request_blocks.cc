#include "server/plan/request_blocks.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "server/plan/memory_planner.h"

namespace unetd {

StatusOr<std::unique_ptr<RequestBlocks>> RequestBlocks::Create(std::shared_ptr<const Plan> plan,
                                                               Ledger& ledger, uint32_t rows,
                                                               uint32_t steps) {
  auto blocks = std::unique_ptr<RequestBlocks>(new RequestBlocks());
  const uint64_t bytes = plan->BlockBytes(rows, steps);
  RETURN_IF_ERROR(
      ledger.Reserve(LedgerAccount::kRequests, bytes, fmt::format("a request of {} rows", rows)));
  blocks->ledger_ = &ledger;
  blocks->bytes_ = bytes;
  blocks->rows_ = rows;
  blocks->steps_ = steps;
  blocks->row_bytes_ = plan->input_row_bytes + plan->condition_row_bytes + plan->output_row_bytes;
  blocks->row_step_bytes_ = plan->schedule_row_bytes + kAlignment;
  blocks->plan_ = std::move(plan);
  ASSIGN_OR_RETURN(blocks->buffer_, DeviceBuffer::Create(blocks->plan_->domain, bytes));
  return blocks;
}

RequestBlocks::~RequestBlocks() {
  if (ledger_ != nullptr) ledger_->Release(LedgerAccount::kRequests, bytes_);
}

uint8_t* RequestBlocks::RowBase(uint32_t row) const { return buffer_.data() + row * row_bytes_; }

uint8_t* RequestBlocks::StepBase(uint32_t row, uint32_t step) const {
  return buffer_.data() + rows_ * row_bytes_ + (uint64_t{step} * rows_ + row) * row_step_bytes_;
}

uint8_t* RequestBlocks::Input(const PlanInput& input, uint32_t row) {
  return RowBase(row) + input.offset;
}

const float* RequestBlocks::Output(uint32_t row) const {
  return reinterpret_cast<const float*>(RowBase(row) + plan_->input_row_bytes +
                                        plan_->condition_row_bytes);
}

void RequestBlocks::SetTimestep(uint32_t row, uint32_t step, float timestep) {
  std::memcpy(StepBase(row, step) + plan_->schedule_row_bytes, &timestep, sizeof(timestep));
}

RowBlocks RequestBlocks::Row(uint32_t row, uint32_t step) {
  RowBlocks blocks;
  blocks.input = RowBase(row);
  blocks.condition = blocks.input + plan_->input_row_bytes;
  blocks.output = blocks.condition + plan_->condition_row_bytes;
  blocks.schedule = StepBase(row, step);
  blocks.time = blocks.schedule + plan_->schedule_row_bytes;
  return blocks;
}

}  // namespace unetd
