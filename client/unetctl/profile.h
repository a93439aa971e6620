// `unetctl profile`: what every operator of a forward pass takes, by the server's own clock.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"

namespace unetd::unetctl {

struct ProfileOptions {
  std::string model;    // empty: the server's only one
  std::string variant;  // empty: the model's first
  int32_t rows = 1;
  std::string size;
  int32_t repeats = 5;
  std::string by;    // operator, kind or layer; empty: kinds, then operators
  int64_t top = 20;  // operators or layers shown; 0: all
  bool json = false;
};

void AddProfileOptions(CLI::App* command, ProfileOptions* options);

Outcome Profile(const Connection& connection, const ProfileOptions& options);

}  // namespace unetd::unetctl
