// `unetctl denoise`: prompts to pictures, with one variant or several.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/inputs.h"
#include "client/unetctl/loop.h"
#include "client/unetctl/progress_bar.h"

namespace unetd::unetctl {

struct DenoiseOptions {
  std::string model;                  // empty: the server's only one
  std::vector<std::string> variants;  // empty: the server chooses one
  bool every_variant = false;         // all that the model has
  std::string id;
  PromptOptions prompts;                        // no file: no input comes of prompts
  std::vector<std::string> variant_conditions;  // "VARIANT=FILE"
  bool all = false;                             // every prompt of the file but the negative one
  int64_t rows = 0;                             // pictures of a model without conditions
  InputOptions inputs;
  LoopOptions loop;
  std::string size;   // empty: the model's first
  int64_t batch = 0;  // rows of a request; 0: as many as the server takes
  int32_t start_step = 0;
  int32_t end_step = 0;
  int64_t seed = 0;
  int32_t preview_every = 0;          // steps; 0: never
  std::string previews = "previews";  // folder
  std::string out_latents;
  std::string png;
  int64_t scale = 0;
  ProgressOptions progress;
  bool json = false;
};

// Declares the options of the command.
void AddDenoiseOptions(CLI::App* command, DenoiseOptions* options);

Outcome Denoise(const Connection& connection, const DenoiseOptions& options);

}  // namespace unetd::unetctl
