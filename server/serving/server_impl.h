// What is behind the Server facade.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/backend/registry.h"
#include "server/serving/domain.h"
#include "server/serving/registry.h"
#include "server/serving/request_job.h"
#include "server/serving/server.h"

namespace unetd {

// Of a request that was answered before there was a job.
class EndedCall final : public CallHandle {
 public:
  void Cancel() override {}
};

struct Server::Impl {
  Impl(Settings s, std::filesystem::path p) : settings(std::move(s)), plugin_dir(std::move(p)) {}

  // Null until the server has loaded.
  std::shared_ptr<const ModelRegistry> Models() const;
  StatusOr<std::shared_ptr<const ServedModel>> FindModel(std::string_view name,
                                                         std::string_view version) const;
  // The model and variant of a request; fails while the server does not serve.
  StatusOr<JobContext> Assign(const RequestHead& head);
  std::shared_ptr<CallHandle> Submit(const JobContext& context, const RequestHead& head,
                                     std::shared_ptr<Job> job);
  // Counts and logs a request that was refused before it became a job.
  void Refused(std::string_view kind, const RequestHead& head, std::string_view variant,
               const Status& status, TimePoint arrived);

  Status Load();
  // The one ledger of a memory domain ("host", "cuda", ...).
  std::shared_ptr<Ledger> LedgerOf(const std::string& memory_domain);
  StatusOr<Domain*> DomainOf(const std::string& backend);

  const Settings settings;
  const std::filesystem::path plugin_dir;
  Statistics statistics;
  BackendRegistry backends;
  mutable std::mutex mutex;  // of models
  std::shared_ptr<const ModelRegistry> models;
  std::mutex ledgers_mutex;
  std::map<std::string, std::shared_ptr<Ledger>> ledgers;  // by memory domain
  std::map<std::string, std::unique_ptr<Domain>> domains;  // by backend; fixed once loaded
  std::atomic<bool> loaded{false};
  std::atomic<bool> draining{false};
};

}  // namespace unetd
