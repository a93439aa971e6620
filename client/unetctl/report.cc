#include "client/unetctl/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "client/unetctl/summary.h"
#include "client/unetctl/table.h"
#include "server/base/text.h"

namespace unetd::unetctl {

double LargestDifference(const VariantRun& a, const VariantRun& b) {
  if (a.samples.size() != b.samples.size()) return std::numeric_limits<double>::quiet_NaN();
  double largest = 0;
  for (size_t i = 0; i < a.samples.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a.samples[i]) - b.samples[i]);
    if (std::isnan(difference)) return difference;
    largest = std::max(largest, difference);
  }
  return largest;
}

std::string ReportText(const Job& job, std::span<const VariantRun> runs) {
  Table table({{"variant", false},
               {"pictures", true},
               {"steps", true},
               {"ms per step", true},
               {"seconds", true},
               {"peak MB", true},
               {"largest difference", true}});
  for (const VariantRun& run : runs) {
    table.AddRow({run.variant, Format("{}", job.prompts.size()), Format("{}", run.steps),
                  Format("{:.2f}", run.MillisecondsPerStep()), Format("{:.2f}", run.seconds),
                  Format("{:.2f}", static_cast<double>(run.plan_bytes) / 1e6),
                  &run == &runs[0] ? "-" : Format("{:.3g}", LargestDifference(runs[0], run))});
  }
  std::string text = table.Text();
  text += "peak MB: what a request needs beside the weights, which the variants share\n";
  if (runs.size() > 1) {
    text += Format("largest difference: from {}'s samples, which go from -1 to 1\n",
                   Printable(runs[0].variant));
  }
  return text;
}

std::string ReportJson(const Job& job, std::span<const VariantRun> runs, const ReportFiles& files) {
  nlohmann::ordered_json report;
  report["model"] = job.model;
  report["prompts"] = job.prompts;
  report["steps"] = job.loop.steps;
  report["guidance"] = job.loop.guidance;
  report["seed"] = job.seed;
  report["sample_shape"] = job.row_shape;
  report["variants"] = nlohmann::ordered_json::array();
  for (const VariantRun& run : runs) {
    nlohmann::ordered_json row;
    row["variant"] = run.variant;
    row["requests"] = run.requests;
    row["steps"] = run.steps;
    row["ms_per_step"] = run.MillisecondsPerStep();
    row["seconds"] = run.seconds;
    row["plan_bytes"] = run.plan_bytes;
    row["largest_difference"] = LargestDifference(runs[0], run);  // null if it is not a number
    report["variants"].push_back(std::move(row));
  }
  if (!files.png.empty()) report["png"] = files.png;
  if (!files.latents.empty()) report["latents"] = files.latents;
  if (!files.previews.empty()) report["previews"] = files.previews;
  return JsonLine(report);
}

}  // namespace unetd::unetctl
