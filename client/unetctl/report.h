// What a denoising command tells at its end.
#pragma once

#include <span>
#include <string>

#include "client/unetctl/run.h"

namespace unetd::unetctl {

// A table: variant, ms per step, memory, and how far its samples are from the first variant's.
std::string ReportText(const Job& job, std::span<const VariantRun> runs);

// The same and more as one line of JSON; `png` and `latents` are the files written, or empty.
std::string ReportJson(const Job& job, std::span<const VariantRun> runs, const std::string& png,
                       const std::string& latents);

// The largest difference between two runs' values, over all rows; NaN anywhere gives NaN.
double LargestDifference(const VariantRun& a, const VariantRun& b);

}  // namespace unetd::unetctl
