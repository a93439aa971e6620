// What a denoising command tells at its end.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "client/unetctl/run.h"

namespace unetd::unetctl {

// A table: variant, ms per step, memory, and how far its samples are from the first variant's.
std::string ReportText(const Job& job, std::span<const VariantRun> runs);

// What was written; empty: nothing.
struct ReportFiles {
  std::string png;
  std::string latents;
  std::vector<std::string> previews;
};

// The same and more as one line of JSON.
std::string ReportJson(const Job& job, std::span<const VariantRun> runs, const ReportFiles& files);

// The largest difference between two runs' values, over all rows; NaN anywhere gives NaN.
double LargestDifference(const VariantRun& a, const VariantRun& b);

}  // namespace unetd::unetctl
