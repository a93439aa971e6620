#include "server/serving/request_job.h"

#include <utility>

#include "server/serving/guarded.h"

namespace unetd {
namespace {

static_assert(std::is_same_v<Clock::duration, std::chrono::nanoseconds>);

uint32_t ShareRows(const JobContext& context) {
  // Rows that see one another are not mixed with strangers.
  if (!context.snapshot->bindings.rows_matter().empty()) return 1;
  return static_cast<uint32_t>(context.model->settings().forward_rows());
}

}  // namespace

RequestJob::RequestJob(JobContext context, const UNetShape& shape, uint32_t rows)
    : context_(std::move(context)), shape_(shape), rows_(rows), share_rows_(ShareRows(context_)) {}

bool RequestJob::SlowToPrepare() {
  plan_ = context_.snapshot->FindPlan(shape_);
  return plan_ == nullptr;
}

Status RequestJob::Prepare() {
  if (plan_ != nullptr) return OkStatus();
  return Guarded<Status>([this]() -> Status {
    ASSIGN_OR_RETURN(plan_, context_.snapshot->FindOrBuildPlan(shape_, {}));
    return OkStatus();
  });
}

Status RequestJob::Stage() {
  return Guarded<Status>([this] { return DoStage(); });
}

ForwardNeed RequestJob::need() const {
  const BatchingSettings& batching = context_.model->settings().dynamic_batching;
  return {plan_, rows_, forwards_left(), share_rows_,
          std::chrono::microseconds(batching.max_queue_delay_microseconds)};
}

Status RequestJob::Begin(const CancelFlag& cancel) {
  return Guarded<Status>([&] { return DoBegin(cancel); });
}

StatusOr<Job::Progress> RequestJob::End(ForwardRecord& record) {
  return Guarded<StatusOr<Progress>>([&] { return DoEnd(record); });
}

void RequestJob::Count(const ForwardRecord& record) {
  const Snapshot& snapshot = *context_.snapshot;
  context_.statistics->AddForward(snapshot.model, snapshot.variant, record);
}

}  // namespace unetd
