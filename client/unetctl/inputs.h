// The UNet's inputs as the command line gives them: files of tensors, or prompts of a file.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "unetd/v1/tensor.pb.h"

namespace unetd::unetctl {

using TensorMap = std::map<std::string, v1::Tensor>;  // by the UNet's input names

struct InputOptions {
  std::string file;                   // .safetensors: tensors by the inputs' names
  std::vector<std::string> named;     // "NAME=FILE"
  std::vector<std::string> negative;  // the same, for the rows without the prompt
};

// Declares --inputs and --input, and with `negative` --negative-input.
void AddInputOptions(CLI::App* command, InputOptions* options, bool negative);

struct PromptOptions {
  std::string conditions;            // file; see conditions.h
  std::vector<std::string> prompts;  // names in it: a row each
  std::string negative = "uncond";
};

// Declares --conditions and --prompt, and with `negative` --negative. Returns --conditions.
CLI::Option* AddPromptOptions(CLI::App* command, PromptOptions* options, bool negative);

// NAME=FILE entries over what `tensors` has: a later one wins.
Status LoadNamed(const std::vector<std::string>& entries, TensorMap* tensors);

// --inputs and --input, in this order: a later one wins.
StatusOr<TensorMap> LoadInputs(const InputOptions& options);

// The prompts' inputs, stacked; nothing without prompts.
struct PromptInputs {
  TensorMap positive;
  TensorMap negative;  // only if asked for
};
StatusOr<PromptInputs> LoadPrompts(const PromptOptions& options, bool negative);

// Checks of the command line, with the type names by which completion knows what to offer.
CLI::Option* TakesFile(CLI::Option* option);           // one that exists
CLI::Option* TakesNewTensorFile(CLI::Option* option);  // .safetensors or .npy, to be written

}  // namespace unetd::unetctl
