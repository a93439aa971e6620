// The backends that this server has opened.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/backend/backend.h"
#include "server/base/status.h"
#include "server/settings/settings.h"

namespace unetd {

// ../lib/unetd from the executable, whatever the working directory.
StatusOr<std::filesystem::path> DefaultPluginFolder();

class BackendRegistry {
 public:
  // What the plugin folder holds and could not be opened.
  struct Unopened {
    std::string file;
    Status reason;
  };

  BackendRegistry() = default;

  // Opens the config's backends in their order; the first that cannot be opened is an error,
  // prefixed by its `json_path`, and so are two of one name. With none, opens every *.so of the
  // plugin folder, by name; those that cannot be opened are logged and kept in unopened(). An empty
  // `folder` is DefaultPluginFolder(). The name "reference" without a library is the reference
  // provider, which serves only if named so.
  static StatusOr<BackendRegistry> Open(const std::vector<BackendSettings>& settings,
                                        std::filesystem::path folder = {}, HostLog log = nullptr);

  // The backend of this name, or kNotFound listing those there are, with the reason why the plugin
  // folder's NAME.so could not be opened.
  StatusOr<std::shared_ptr<Backend>> Find(std::string_view name) const;
  const std::vector<std::shared_ptr<Backend>>& All() const { return backends_; }  // in order
  // Those that serve operators in `domain`, in order.
  std::vector<std::shared_ptr<Backend>> OfDomain(std::string_view domain) const;
  const std::vector<Unopened>& unopened() const { return unopened_; }

 private:
  Status Add(std::shared_ptr<Backend> backend);
  Status AddNamed(const BackendSettings& settings, const std::filesystem::path& folder,
                  HostLog log);
  Status AddFolder(const std::filesystem::path& folder, HostLog log);

  std::vector<std::shared_ptr<Backend>> backends_;
  std::vector<Unopened> unopened_;
};

}  // namespace unetd
