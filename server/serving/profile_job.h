// One profile: a forward that warms, then by turns a plain one and one with a clock beside each
// operator, each a quantum.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "server/plan/request_blocks.h"
#include "server/serving/profile.h"
#include "server/serving/request_job.h"

namespace unetd {

struct CheckedProfile {
  UNetShape shape;
  uint32_t rows = 1;
  uint32_t repeats = 1;
};

class ProfileJob final : public RequestJob {
 public:
  ProfileJob(JobContext context, const CheckedProfile& checked, ProfileRequest request,
             ProfileCallback done);
  ForwardNeed need() const override;
  std::span<const RowBlocks> rows() const override { return row_blocks_; }
  void Count(const ForwardRecord&) override {}  // nobody asked for its answers
  void Finish(const Status& status, const JobTimes& times) override;

 private:
  Status DoStage() override;
  Status DoBegin(const CancelFlag& cancel) override;
  StatusOr<Progress> DoEnd(ForwardRecord& record) override;
  uint64_t forwards_left() const override { return 1 + 2 * repeats_ - forwards_; }
  // Of the forward that is next or runs.
  bool warms() const { return forwards_ == 0; }
  bool timed() const { return !warms() && forwards_ % 2 == 0; }
  std::span<OperatorTime> TimesOf(Section section) const;  // empty where no clock is to be read
  void FillResult();

  const uint64_t repeats_;
  const ProfileRequest request_;
  const ProfileCallback done_;
  std::unique_ptr<RequestBlocks> blocks_;
  std::vector<RowBlocks> row_blocks_;
  uint64_t forwards_ = 0;  // that have ended
  uint64_t begin_ns_ = 0;  // of the forward's sections before the step
  std::vector<double> plain_ms_;
  std::vector<OperatorTime> times_;  // of the forward that runs: all operators, in order
  std::array<std::span<OperatorTime>, kSectionCount> section_times_;  // the parts of times_
  std::vector<std::vector<double>> operator_ms_;                      // [operator][repeat]
  ProfileResult result_;
};

}  // namespace unetd
