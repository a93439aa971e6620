#include "server/serving/executor.h"

#include <utility>

#include "server/serving/executor_core.h"

namespace unetd {

Executor::Executor(size_t queue_limit, std::unique_ptr<StepRunner> runner)
    : core_(std::make_shared<Core>(queue_limit, std::move(runner))) {
  core_->StartThreads();
}

Executor::~Executor() {
  core_->Drain(std::chrono::seconds(0));
  core_->StopThreads();
}

std::shared_ptr<CallHandle> Executor::Submit(std::shared_ptr<Job> job, SubmitOptions options) {
  return core_->Submit(std::move(job), std::move(options));
}

bool Executor::Drain(std::chrono::duration<double> limit) { return core_->Drain(limit); }
void Executor::Close() { core_->Close(); }
JobCounts Executor::counts() const { return core_->counts(); }
std::map<std::pair<std::string, std::string>, JobCounts> Executor::counts_by_variant() const {
  return core_->counts_by_variant();
}

}  // namespace unetd
