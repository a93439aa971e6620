#include "tests/providers/providers.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "server/backend/library.h"
#include "server/backend/reference.h"

namespace unetd::test {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

// Backends whose options choose between sets of kernels: each set is a provider of its own.
const std::vector<std::pair<std::string, std::vector<Options>>> kOptionSets = {
    {"cpu", {{{"isa", "avx2"}}, {{"isa", "avx512"}}, {{"isa", "avx512_bf16"}}}},
    {"memory_efficient", {{{"isa", "avx2"}}, {{"isa", "avx512"}}}},
};

std::string Label(std::string text) {
  for (char& c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return text;
}

}  // namespace

const std::vector<Provider>& PluginProviders() {
  static const std::vector<Provider> all = [] {
    namespace fs = std::filesystem;
    std::vector<fs::path> files;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(UNETD_BUILD_DIR "/lib/unetd", error)) {
      if (entry.path().extension() == ".so") files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    std::vector<Provider> providers;
    for (const fs::path& file : files) {
      const std::string stem = file.stem().string();
      bool sets = false;
      for (const auto& [name, choices] : kOptionSets) {
        if (name != stem) continue;
        for (const Options& options : choices) {
          providers.push_back({Label(stem + "_" + options[0].second), file.string(), options});
          sets = true;
        }
      }
      if (!sets) providers.push_back({Label(stem), file.string(), {}});
    }
    return providers;
  }();
  return all;
}

std::vector<Provider> AllProviders() {
  std::vector<Provider> providers = PluginProviders();
  providers.push_back({"reference", "", {}});
  return providers;
}

StatusOr<std::shared_ptr<Backend>> Opened(const Provider& provider) {
  static std::map<std::string, StatusOr<std::shared_ptr<Backend>>> opened;
  if (auto it = opened.find(provider.label); it != opened.end()) return it->second;
  auto backend = provider.file.empty()
                     ? Backend::Open(ReferenceBackend(), provider.options, "built into the server")
                     : LoadBackend(provider.file, provider.options);
  opened.emplace(provider.label, backend);
  return backend;
}

const std::shared_ptr<Backend>& Reference() {
  static const std::shared_ptr<Backend> reference = *Opened({"reference", "", {}});
  return reference;
}

std::shared_ptr<Backend> DomainOf(const std::shared_ptr<Backend>& backend) {
  if (backend->owns_domain()) return backend;
  return backend->domain() == Reference()->domain() ? Reference() : nullptr;
}

}  // namespace unetd::test
