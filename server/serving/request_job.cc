#include "server/serving/request_job.h"

#include <new>

namespace unetd {
namespace {

static_assert(std::is_same_v<Clock::duration, std::chrono::nanoseconds>);

// No exception crosses the executor.
template <typename Result, typename Call>
Result Guarded(const Call& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory is left for this request");
  } catch (const std::exception& error) {
    return Internal(error.what());
  }
}

}  // namespace

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

StatusOr<Job::Progress> RequestJob::Run(const CancelFlag& cancel) {
  return Guarded<StatusOr<Progress>>([&] { return DoRun(cancel); });
}

}  // namespace unetd
