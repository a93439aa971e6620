// Loading: backends, domains, models.
#include <algorithm>
#include <utility>

#include "server/base/cpu.h"
#include "server/base/log.h"
#include "server/base/text.h"
#include "server/serving/server_impl.h"

namespace unetd {
namespace {

void LogOfBackend(int32_t level, const char* text) {
  Log(static_cast<LogLevel>(std::clamp<int32_t>(level, 0, 3)), text);
}

uint64_t MemoryLimit(const Settings& settings) {
  const int64_t mib = settings.server.limits.memory_mib;
  return mib > 0 ? static_cast<uint64_t>(mib) << 20 : MachineMemoryBytes() / 4 * 3;
}

double Seconds(TimePoint since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

}  // namespace

std::shared_ptr<Ledger> Server::Impl::LedgerOf(const std::string& memory_domain) {
  std::lock_guard lock(ledgers_mutex);
  std::shared_ptr<Ledger>& ledger = ledgers[memory_domain];
  if (ledger == nullptr) ledger = std::make_shared<Ledger>(MemoryLimit(settings));
  return ledger;
}

StatusOr<Domain*> Server::Impl::DomainOf(const std::string& backend) {
  if (const auto found = domains.find(backend); found != domains.end()) return found->second.get();
  ASSIGN_OR_RETURN(std::shared_ptr<Backend> opened, backends.Find(backend));
  ASSIGN_OR_RETURN(
      std::unique_ptr<Domain> domain,
      Domain::Create(
          std::move(opened), [this](const std::string& name) { return LedgerOf(name); },
          static_cast<size_t>(settings.server.limits.queue)));
  Domain* const pointer = domain.get();
  domains.emplace(backend, std::move(domain));
  return pointer;
}

Status Server::Impl::Load() {
  const TimePoint begin = Clock::now();
  ASSIGN_OR_RETURN(backends, BackendRegistry::Open(settings.backends, plugin_dir, &LogOfBackend));
  auto registry = std::make_shared<ModelRegistry>();
  for (const ModelSettings& model : settings.models) {
    const TimePoint model_begin = Clock::now();
    const auto domain = DomainOf(model.backend);
    if (!domain.ok()) return domain.status().WithContext(model.json_path + ".backend: ");
    ASSIGN_OR_RETURN(auto served, ServedModel::Load(model, backends, **domain));
    for (const auto& variant : served->variants()) {
      statistics.Declare(model.name, variant->variant);
    }
    UNETD_LOG_INFO("model '{}' is ready: {} variants, {} in {:.2f} s", model.name,
                   served->variants().size(), TorchName(model.dtype), Seconds(model_begin));
    registry->Add(std::move(served));
  }
  for (const auto& model : registry->models()) model->MakeRoom();
  {
    std::lock_guard lock(mutex);
    models = std::move(registry);
  }
  loaded = true;
  UNETD_LOG_INFO("ready: {} models in {:.2f} s", settings.models.size(), Seconds(begin));
  return OkStatus();
}

}  // namespace unetd
