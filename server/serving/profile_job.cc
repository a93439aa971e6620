#include "server/serving/profile_job.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/base/cpu.h"
#include "server/base/text.h"
#include "server/diffusion/noise.h"
#include "server/serving/request_log.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

constexpr uint64_t kSeed = 0;     // of the first row's noise
constexpr float kTimestep = 500;  // of the 1000 that schedulers are trained with
constexpr const char* kSections[] = {"condition", "schedule", "step"};
static_assert(std::size(kSections) == kSectionCount);

double Milliseconds(std::chrono::nanoseconds time) {
  return static_cast<double>(time.count()) * 1e-6;
}

// Of at least one value.
double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

// Floats are standard normal noise; labels and the like are 0, which every table has.
Status FillInputs(RequestBlocks& blocks) {
  std::vector<float> noise;
  uint32_t stream = 0;
  for (const PlanInput& input : blocks.plan().inputs) {
    const uint64_t elements = input.bytes / DTypeSize(input.dtype);
    for (uint32_t row = 0; row < blocks.rows(); ++row) {
      uint8_t* const to = blocks.Input(input, row);
      if (!IsFloat(input.dtype)) {
        std::memset(to, 0, input.bytes);
        continue;
      }
      noise.resize(elements);
      FillNormal(kSeed + row, stream, noise);
      const TensorView view{DType::kFloat32,
                            {static_cast<int64_t>(elements)},
                            noise.data(),
                            elements * sizeof(float)};
      RETURN_IF_ERROR(Convert(view, input.dtype, to));
    }
    ++stream;
  }
  for (uint32_t row = 0; row < blocks.rows(); ++row) blocks.SetTimestep(row, 0, kTimestep);
  return OkStatus();
}

}  // namespace

ProfileJob::ProfileJob(JobContext context, const CheckedProfile& checked, ProfileRequest request,
                       ProfileCallback done)
    : RequestJob(std::move(context), checked.shape, checked.rows),
      repeats_(checked.repeats),
      request_(std::move(request)),
      done_(std::move(done)) {}

ForwardNeed ProfileJob::need() const {
  ForwardNeed need = RequestJob::need();
  need.share_rows = 1;
  need.times = TimesOf(Section::kStep);
  return need;
}

std::span<OperatorTime> ProfileJob::TimesOf(Section section) const {
  if (!timed()) return {};
  return section_times_[static_cast<int>(section)];
}

Status ProfileJob::DoStage() {
  RETURN_IF_ERROR(context_.snapshot->domain->CheckFits(*plan_, rows_, 1));
  ASSIGN_OR_RETURN(blocks_, RequestBlocks::Create(plan_, ledger(), rows_));
  RETURN_IF_ERROR(FillInputs(*blocks_));
  for (uint32_t row = 0; row < rows_; ++row) row_blocks_.push_back(blocks_->Row(row));
  size_t operators = 0;
  for (const auto& section : plan_->sections) operators += section.size();
  times_.resize(operators);
  operator_ms_.resize(operators);
  std::span<OperatorTime> rest = times_;
  for (int section = 0; section < kSectionCount; ++section) {
    section_times_[section] = rest.first(plan_->sections[section].size());
    rest = rest.subspan(section_times_[section].size());
  }
  return OkStatus();
}

Status ProfileJob::DoBegin(const CancelFlag& cancel) {
  std::fill(times_.begin(), times_.end(), OperatorTime());
  begin_ns_ = 0;
  const AddTime time(begin_ns_);
  for (const Section section : {Section::kCondition, Section::kSchedule}) {
    RETURN_IF_ERROR(runner().Run(*plan_, section, row_blocks_, &cancel, TimesOf(section)));
  }
  return OkStatus();
}

StatusOr<Job::Progress> ProfileJob::DoEnd(ForwardRecord& record) {
  if (timed()) {
    for (size_t i = 0; i < times_.size(); ++i) {
      operator_ms_[i].push_back(Milliseconds(times_[i].time));
    }
  } else if (!warms()) {
    plain_ms_.push_back(Milliseconds(std::chrono::nanoseconds(begin_ns_ + record.forward_ns)));
  }
  ++forwards_;
  if (forwards_left() > 0) return Progress::kMore;
  FillResult();
  return Progress::kDone;
}

void ProfileJob::FillResult() {
  result_.shape = shape_.Key();
  result_.rows = rows_;
  result_.height = shape_.size.h;
  result_.width = shape_.size.w;
  result_.repeats = static_cast<uint32_t>(repeats_);
  result_.threads = runner().threads();
  result_.cpu = CpuModel();
  result_.forward_ms = Median(plain_ms_);
  for (int section = 0; section < kSectionCount; ++section) {
    for (const PlannedOp& op : plan_->sections[section]) {
      const size_t index = result_.operators.size();
      ProfiledOperator out;
      out.layer = op.layer;
      out.text = op.text;
      out.kind = op.kind;
      // Copies between domains are the other domain's.
      out.backend = op.prepared.valid() ? op.prepared.backend()->name()
                                        : plan_->foreign[op.domain - 1].backend->name();
      out.kernel = op.prepared.description();
      out.section = kSections[section];
      out.ms = Median(operator_ms_[index]);
      out.calls = times_[index].calls;
      out.flops = op.cost.Flops(rows_);
      out.bytes = op.cost.Bytes(rows_);
      result_.operators.push_back(std::move(out));
    }
  }
}

void ProfileJob::Finish(const Status& status, const JobTimes& times) {
  blocks_.reset();
  const Snapshot& snapshot = *context_.snapshot;
  LogRequest({"profile", request_.id, snapshot.model, snapshot.variant,
              Format("{}x {}", rows_, shape_.Key())},
             status, times);
  if (!status.ok()) return done_(status);
  result_.model = snapshot.model;
  result_.variant = snapshot.variant;
  done_(std::move(result_));
}

}  // namespace unetd
