// `unetctl step`: one step of the denoising loop, its state kept in files between steps.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/inputs.h"
#include "client/unetctl/loop.h"

namespace unetd::unetctl {

struct StepOptions {
  std::string model;    // empty: the server's only one
  std::string variant;  // empty: the server chooses
  std::string id;
  std::string sample;  // file
  InputOptions inputs;
  PromptOptions prompts;
  LoopOptions loop;
  int32_t step_index = 0;
  std::optional<double> timestep;
  std::optional<int64_t> seed;  // row i draws its noise from seed + i
  std::string state;            // file; empty: none
  std::string out;              // files to write; empty: none
  std::string out_original;
  std::string out_state;
  bool json = false;
};

void AddStepOptions(CLI::App* command, StepOptions* options);

Outcome Step(const Connection& connection, const StepOptions& options);

}  // namespace unetd::unetctl
