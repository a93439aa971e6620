// What `unetctl bench` measured, as a table and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/unetctl/load.h"

namespace unetd::unetctl {

// Exact: the value at rank ceil(share * n) of the sorted values. `sorted` must not be empty.
double Percentile(std::span<const double> sorted, double share);

// One concurrency of the sweep.
struct BenchLevel {
  int64_t clients = 1;
  LoadResult load;
  std::optional<double> rows_per_forward;  // by the server's statistics
};

struct BenchRun {
  std::string kind;  // infer, step or denoise
  std::string model;
  std::string variant;  // empty: the server chose
  int64_t rows = 1;     // of a request
  int64_t steps = 1;    // UNet steps of a request: 1 but for denoise
  int64_t height = 0;
  int64_t width = 0;
  bool interrupted = false;
  std::vector<BenchLevel> levels;

  // What a request counts for in the throughput: rows times steps.
  int64_t work() const { return rows * steps; }
};

std::string BenchText(const BenchRun& run);
std::string BenchJson(const BenchRun& run);

}  // namespace unetd::unetctl
