// `unetctl completion`: what a shell offers behind Tab, made from the commands' own declarations.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"

namespace unetd::unetctl {

struct CompletionOptions {
  std::string what;   // bash, models, variants or processors
  std::string model;  // whose variants; empty: the server's only one
};

void AddCompletionOptions(CLI::App* command, CompletionOptions* options);

// The script for bash. An option's type name tells what may follow it: FILE, FOLDER, MODEL,
// VARIANT, NAME=FILE, or words such as infer|denoise; capitals else are a value that nobody can
// guess.
std::string BashCompletion(const CLI::App& app);

// Prints the script, or the server's names, one a line.
Outcome Complete(const Connection& connection, const CompletionOptions& options,
                 const CLI::App& app);

}  // namespace unetd::unetctl
