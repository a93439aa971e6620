// The providers under test: every backend of the build's plugin folder, some with several sets of
// options.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "server/backend/backend.h"

namespace unetd::test {

struct Provider {
  std::string label;  // letters, digits and '_'
  std::string file;   // empty: the reference provider
  std::vector<std::pair<std::string, std::string>> options;
};

inline void PrintTo(const Provider& provider, std::ostream* out) { *out << provider.label; }

// Those of the plugin folder. Nothing is opened.
const std::vector<Provider>& PluginProviders();
// The same and the reference provider.
std::vector<Provider> AllProviders();

// Opened once and kept. An error says why this machine cannot.
StatusOr<std::shared_ptr<Backend>> Opened(const Provider& provider);
const std::shared_ptr<Backend>& Reference();

// Who owns the memory of `backend`'s domain: itself, or for "host" the reference; null if nobody
// does.
std::shared_ptr<Backend> DomainOf(const std::shared_ptr<Backend>& backend);

}  // namespace unetd::test
