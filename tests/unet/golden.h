// Runs a model folder of tests/golden on a backend, from its files to the output.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/backend/backend.h"
#include "server/backend/registry.h"
#include "server/base/status.h"
#include "server/plan/value.h"
#include "server/settings/settings.h"

namespace unetd::test {

std::filesystem::path GoldenFolder();

// Every *.safetensors of `folder`/.../io*.safetensors or of `folder` itself, sorted.
std::vector<std::filesystem::path> GoldenFiles(const std::filesystem::path& folder,
                                               const std::string& prefix);

// "reference", or a plugin of this build; null with `why` if it is not built.
std::shared_ptr<Backend> GoldenBackend(const std::string& name, std::string& why);

struct GoldenSetup {
  std::shared_ptr<Backend> backend;
  BackendRegistry registry;  // those that offer operators beside it
  std::vector<ProcessorRule> rules;
  uint32_t threads = 1;
  DType dtype = DType::kFloat32;  // of activations and packed weights
  ConvAlgorithm conv = ConvAlgorithm::kAuto;
  Size declared{0, 0};         // the size that `conv` goes by; {0, 0}: the file's own
  std::vector<uint32_t> rows;  // which of the file's rows make the batch; empty: all
};

struct GoldenRun {
  double worst = 0;                              // largest difference
  double std = 0;                                // of the expected output
  std::vector<std::vector<float>> outputs;       // one a row of the batch
  std::map<std::string, uint64_t> convolutions;  // how many went by which kernel
};

// Loads `model`, binds the rules to it, runs what the file `io` holds and compares. Errors name the
// step that failed.
StatusOr<GoldenRun> RunGolden(const std::filesystem::path& model, const std::filesystem::path& io,
                              const GoldenSetup& setup);

}  // namespace unetd::test
