#include "server/serving/server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/base/text.h"
#include "server/serving/guarded.h"
#include "server/serving/infer_job.h"
#include "server/serving/request_checks.h"
#include "server/serving/request_log.h"
#include "server/serving/server_impl.h"

namespace unetd {
std::unique_ptr<Server> Server::Create(Settings settings, std::filesystem::path plugin_dir) {
  return std::unique_ptr<Server>(
      new Server(std::make_unique<Impl>(std::move(settings), std::move(plugin_dir))));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  impl_->draining = true;
  // Executors end their jobs before anything that jobs use goes.
  for (auto& [name, domain] : impl_->domains) domain->executor.reset();
}

Status Server::Load() {
  return Guarded<Status>([this] { return impl_->Load(); });
}

bool Server::live() const { return true; }
bool Server::ready() const { return impl_->loaded && !impl_->draining; }
const Settings& Server::settings() const { return impl_->settings; }

std::shared_ptr<const ModelRegistry> Server::Impl::Models() const {
  std::lock_guard lock(mutex);
  return models;
}

StatusOr<std::shared_ptr<const ServedModel>> Server::Impl::FindModel(
    std::string_view name, std::string_view version) const {
  const auto registry = Models();
  auto model = registry != nullptr ? registry->Find(name) : nullptr;
  if (model == nullptr) {
    const bool configured =
        std::any_of(settings.models.begin(), settings.models.end(),
                    [&](const ModelSettings& known) { return known.name == name; });
    if (configured) {
      return Unavailable(
          Format("Request for unknown model: {} is not at ready state", Quoted(name)));
    }
    return NotFound(Format("Request for unknown model: {} is not found", Quoted(name)));
  }
  RETURN_IF_ERROR(CheckVersion(name, version));
  return model;
}

StatusOr<JobContext> Server::Impl::Assign(const RequestHead& head) {
  JobContext context;
  ASSIGN_OR_RETURN(context.model, FindModel(head.model, head.version));
  ASSIGN_OR_RETURN(context.snapshot, context.model->Choose(head.variant, head.id));
  context.statistics = &statistics;
  return context;
}

void Server::Impl::Refused(std::string_view kind, const RequestHead& head, std::string_view variant,
                           const Status& status, TimePoint arrived) {
  JobTimes times;
  times.total_ns = static_cast<uint64_t>((Clock::now() - arrived).count());
  // Only models that exist are counted: a stranger's names must not grow the table.
  const auto registry = Models();
  if (registry != nullptr && registry->Find(head.model) != nullptr) {
    statistics.AddFailure(head.model, variant, status.code(), times.total_ns);
  }
  LogRequest({kind, head.id, head.model, variant, "", 0}, status, times);
}

std::shared_ptr<CallHandle> Server::Impl::Submit(const JobContext& context, const RequestHead& head,
                                                 std::shared_ptr<Job> job) {
  Executor::SubmitOptions options;
  options.model = context.snapshot->model;
  options.variant = context.snapshot->variant;
  options.priority = head.priority;
  options.deadline = head.deadline;
  if (head.queue_timeout) {
    constexpr std::chrono::hours kLongest(24 * 365);
    options.start_by =
        Clock::now() + std::min<std::chrono::microseconds>(*head.queue_timeout, kLongest);
  }
  return context.snapshot->domain->executor->Submit(std::move(job), std::move(options));
}

std::shared_ptr<CallHandle> Server::Infer(InferRequest request, InferCallback done) {
  const TimePoint arrived = Clock::now();
  std::string variant;
  auto job = Guarded<StatusOr<std::pair<JobContext, CheckedInfer>>>(
      [&]() -> StatusOr<std::pair<JobContext, CheckedInfer>> {
        ASSIGN_OR_RETURN(JobContext context, impl_->Assign(request));
        variant = context.snapshot->variant;
        ASSIGN_OR_RETURN(CheckedInfer checked, CheckInfer(*context.model, request));
        RETURN_IF_ERROR(CheckGroup(*context.snapshot, checked.shape, checked.rows));
        return std::pair(std::move(context), std::move(checked));
      });
  if (!job.ok()) {
    impl_->Refused("infer", request, variant, job.status(), arrived);
    done(job.status());
    return std::make_shared<EndedCall>();
  }
  const RequestHead head = request;
  return impl_->Submit(
      job->first, head,
      std::make_shared<InferJob>(job->first, job->second, std::move(request), std::move(done)));
}

void Server::Refused(std::string_view kind, const RequestHead& head, const Status& status) {
  impl_->Refused(kind, head, "", status, Clock::now());
}

bool Server::Drain(double seconds) {
  impl_->draining = true;
  if (!impl_->loaded) return true;
  for (auto& [name, domain] : impl_->domains) domain->executor->Close();
  const TimePoint begin = Clock::now();
  bool all = true;
  for (auto& [name, domain] : impl_->domains) {
    const std::chrono::duration<double> passed = Clock::now() - begin;
    all &= domain->executor->Drain(
        std::chrono::duration<double>(std::max(0.0, seconds - passed.count())));
  }
  return all;
}

}  // namespace unetd
