// `unetctl bench`: throughput and latency under so many clients at once.
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

struct BenchOptions {
  std::string kind = "infer";  // infer, step or denoise
  std::string model;           // empty: the server's only one
  std::string variant;         // empty: the server chooses
  std::vector<int64_t> concurrency = {1, 2, 4, 8};
  double duration_s = 5;
  int64_t requests = 0;  // 0: as many as duration_s allows
  int64_t warmup = 2;    // requests of each client
  int64_t rows = 1;
  std::string size;
  int64_t tokens = 77;
  InputOptions inputs;
  LoopOptions loop;
  bool loop_given = false;  // an option of denoise and step was
  ProgressOptions progress;
  bool json = false;
};

void AddBenchOptions(CLI::App* command, BenchOptions* options);

Outcome Bench(const Connection& connection, const BenchOptions& options);

}  // namespace unetd::unetctl
