// What the facade tells about models and statistics.
#include "server/base/text.h"
#include "server/serving/server_impl.h"

namespace unetd {

Status Server::CheckModel(std::string_view name, std::string_view version) const {
  const auto model = impl_->FindModel(name, version);
  if (!model.ok()) return model.status();
  if (!ready()) return Unavailable("Server is stopping, it accepts no new inference requests");
  return OkStatus();
}

std::vector<ModelInfo> Server::ListModels() const {
  std::vector<ModelInfo> list;
  const auto registry = impl_->Models();
  if (registry == nullptr) return list;
  for (const auto& model : registry->models()) list.push_back(model->Info());
  return list;
}

StatusOr<ModelInfo> Server::Model(std::string_view name, std::string_view version) const {
  ASSIGN_OR_RETURN(const auto model, impl_->FindModel(name, version));
  return model->Info();
}

StatusOr<ModelDescription> Server::DescribeModel(std::string_view name) const {
  ASSIGN_OR_RETURN(const auto model, impl_->FindModel(name, ""));
  return model->Describe();
}

ServerStats Server::Stats() const {
  ServerStats stats;
  stats.variants = impl_->statistics.Snapshot();
  if (!impl_->loaded) return stats;
  std::map<std::pair<std::string, std::string>, JobCounts> jobs;
  for (const auto& [name, domain] : impl_->domains) {
    stats.domains.push_back(domain->Stats());
    jobs.merge(domain->executor->counts_by_variant());  // a model lives in one domain
    const PlanCache::Counts plans = domain->plans->counts();
    stats.plan_hits += plans.hits;
    stats.plan_misses += plans.misses;
    stats.plans_cached += plans.plans;
  }
  for (VariantStats& variant : stats.variants) {
    const auto found = jobs.find({variant.model, variant.variant});
    if (found == jobs.end()) continue;
    variant.queued = found->second.queued;
    variant.running = found->second.running;
  }
  return stats;
}

}  // namespace unetd
