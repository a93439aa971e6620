#include "server/backend/registry.h"

#include <algorithm>
#include <system_error>

#include "server/backend/library.h"
#include "server/backend/plugin_text.h"
#include "server/backend/reference.h"
#include "server/base/log.h"
#include "server/base/text.h"

namespace unetd {
namespace fs = std::filesystem;

StatusOr<fs::path> DefaultPluginFolder() {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  if (error) return Internal("the plugin folder: cannot read /proc/self/exe: " + error.message());
  return executable.parent_path().parent_path() / "lib" / "unetd";
}

StatusOr<BackendRegistry> BackendRegistry::Open(const std::vector<BackendSettings>& settings,
                                                fs::path folder, HostLog log) {
  if (folder.empty()) {
    ASSIGN_OR_RETURN(folder, DefaultPluginFolder());
  }
  BackendRegistry registry;
  if (settings.empty()) {
    RETURN_IF_ERROR(registry.AddFolder(folder, log));
  }
  for (const BackendSettings& entry : settings) {
    const Status status = registry.AddNamed(entry, folder, log);
    if (!status.ok()) {
      return status.WithContext(entry.json_path.empty() ? "" : entry.json_path + ": ");
    }
  }
  for (const auto& backend : registry.backends_) {
    UNETD_LOG_INFO("backend {} {}: domain {}, {} ({})", backend->name(), backend->version(),
                   backend->domain(), backend->info().device, backend->origin());
  }
  return registry;
}

Status BackendRegistry::Add(std::shared_ptr<Backend> backend) {
  for (const auto& other : backends_) {
    if (other->name() == backend->name()) {
      return InvalidArgument(Format("backend '{}' is there twice: {} and {}", backend->name(),
                                    other->origin(), backend->origin()));
    }
  }
  backends_.push_back(std::move(backend));
  return OkStatus();
}

Status BackendRegistry::AddNamed(const BackendSettings& settings, const fs::path& folder,
                                 HostLog log) {
  // The name becomes part of a path, so it is checked before it is used.
  if (settings.name.find('\0') != std::string::npos || !IsPluginName(settings.name.c_str(), 63)) {
    return InvalidArgument(
        Format("backend name {}: expected 1 to 63 of a-z, 0-9, _ and -, a letter first",
               Quoted(settings.name)));
  }
  if (settings.name == ReferenceBackend()->name && settings.library.empty()) {
    ASSIGN_OR_RETURN(auto backend, Backend::Open(ReferenceBackend(), settings.options,
                                                 "built into the server", log));
    return Add(std::move(backend));
  }
  const fs::path file =
      settings.library.empty() ? folder / (settings.name + ".so") : settings.library;
  ASSIGN_OR_RETURN(auto backend, LoadBackend(file.string(), settings.options, log));
  if (backend->name() != settings.name) {
    return InvalidArgument(Format("{}: it calls itself {}, the config calls it {}",
                                  backend->origin(), Quoted(backend->name()),
                                  Quoted(settings.name)));
  }
  return Add(std::move(backend));
}

Status BackendRegistry::AddFolder(const fs::path& folder, HostLog log) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".so") files.push_back(at->path());
  }
  if (error) {
    return NotFound(Format("the plugin folder '{}': {}", PluginText(folder.string().c_str(), 4096),
                           error.message()));
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    auto backend = LoadBackend(file.string(), {}, log);
    Status status = backend.ok() ? Add(*backend) : backend.status();
    if (status.ok()) continue;
    // A machine without a backend's device is no fault; a broken plugin is.
    const bool absent = status.code() == Code::kUnimplemented;
    Log(absent ? LogLevel::kInfo : LogLevel::kWarning, "not opened: " + status.message());
    unopened_.push_back({file.string(), std::move(status)});
  }
  return OkStatus();
}

StatusOr<std::shared_ptr<Backend>> BackendRegistry::Find(std::string_view name) const {
  std::string names;
  for (const auto& backend : backends_) {
    if (backend->name() == name) return backend;
    names += (names.empty() ? "" : ", ") + backend->name();
  }
  // A plugin's file is called as the backend is.
  std::string reason;
  for (const Unopened& unopened : unopened_) {
    if (fs::path(unopened.file).stem() != fs::path(name)) continue;
    reason = ", since it could not be opened: " + unopened.reason.message();
  }
  return NotFound(Format("no backend is called {}{}; there are: {}", Quoted(name), reason,
                         names.empty() ? "none" : names));
}

std::vector<std::shared_ptr<Backend>> BackendRegistry::OfDomain(std::string_view domain) const {
  std::vector<std::shared_ptr<Backend>> result;
  for (const auto& backend : backends_) {
    if (backend->domain() == domain) result.push_back(backend);
  }
  return result;
}

}  // namespace unetd
