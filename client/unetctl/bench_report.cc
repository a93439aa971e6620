#include "client/unetctl/bench_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/unetctl/failure.h"
#include "client/unetctl/summary.h"
#include "client/unetctl/table.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

struct Figures {
  double requests_per_s = 0;
  double min = 0, mean = 0, p50 = 0, p95 = 0, p99 = 0, max = 0;  // ms
};

// Nothing if no request succeeded.
std::optional<Figures> FiguresOf(const LoadResult& load) {
  if (load.ms.empty()) return std::nullopt;
  std::vector<double> sorted = load.ms;
  std::sort(sorted.begin(), sorted.end());
  Figures figures;
  const auto count = static_cast<double>(sorted.size());
  figures.requests_per_s = load.seconds > 0 ? count / load.seconds : 0;
  figures.min = sorted.front();
  figures.mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / count;
  figures.p50 = Percentile(sorted, 0.50);
  figures.p95 = Percentile(sorted, 0.95);
  figures.p99 = Percentile(sorted, 0.99);
  figures.max = sorted.back();
  return figures;
}

std::string Unit(const BenchRun& run) { return run.kind == "infer" ? "rows/s" : "row steps/s"; }

}  // namespace

double Percentile(std::span<const double> sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  const auto index = static_cast<size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

std::string BenchText(const BenchRun& run) {
  Table table({{"clients", true},
               {"requests", true},
               {"errors", true},
               {Unit(run), true},
               {"p50 ms", true},
               {"p95 ms", true},
               {"p99 ms", true},
               {"max ms", true},
               {"rows a forward", true}});
  std::string errors;
  for (const BenchLevel& level : run.levels) {
    std::vector<std::string> row = {Format("{}", level.clients), Format("{}", level.load.ms.size()),
                                    Format("{}", level.load.errors)};
    if (const auto figures = FiguresOf(level.load)) {
      row.push_back(Format("{:.2f}", figures->requests_per_s * static_cast<double>(run.work())));
      for (const double ms : {figures->p50, figures->p95, figures->p99, figures->max}) {
        row.push_back(Format("{:.2f}", ms));
      }
    } else {
      row.insert(row.end(), 5, "-");
    }
    row.push_back(level.rows_per_forward ? Format("{:.2f}", *level.rows_per_forward) : "-");
    table.AddRow(std::move(row));
    if (level.load.errors > 0) {
      errors += Format("{} clients, first error: {}\n", level.clients, level.load.first_error);
    }
  }
  std::string text = table.Text() + errors;
  text += Format("model {}, variant {}, {} of {} rows of {}x{}", Printable(run.model),
                 run.variant.empty() ? "as the server chose" : Printable(run.variant), run.kind,
                 run.rows, run.height, run.width);
  if (run.kind == "denoise") text += Format(", {} steps each", run.steps);
  return text + (run.interrupted ? "\ninterrupted: the last line is of less\n" : "\n");
}

std::string BenchJson(const BenchRun& run) {
  nlohmann::ordered_json report;
  report["kind"] = run.kind;
  report["model"] = run.model;
  report["variant"] = run.variant;
  report["rows"] = run.rows;
  report["steps"] = run.steps;
  report["size"] = {run.height, run.width};
  report["unit"] = Unit(run);
  report["interrupted"] = run.interrupted;
  report["levels"] = nlohmann::ordered_json::array();
  for (const BenchLevel& level : run.levels) {
    nlohmann::ordered_json row;
    row["concurrency"] = level.clients;
    row["requests"] = level.load.ms.size();
    row["errors"] = level.load.errors;
    row["seconds"] = level.load.seconds;
    if (const auto figures = FiguresOf(level.load)) {
      row["requests_per_s"] = figures->requests_per_s;
      row["throughput"] = figures->requests_per_s * static_cast<double>(run.work());
      row["latency_ms"] = {{"min", figures->min}, {"mean", figures->mean}, {"p50", figures->p50},
                           {"p95", figures->p95}, {"p99", figures->p99},   {"max", figures->max}};
    } else {
      row["requests_per_s"] = row["throughput"] = 0;
      row["latency_ms"] = nullptr;
    }
    if (level.rows_per_forward) {
      row["rows_per_forward"] = *level.rows_per_forward;
    } else {
      row["rows_per_forward"] = nullptr;
    }
    if (level.load.errors > 0) row["first_error"] = level.load.first_error;
    report["levels"].push_back(std::move(row));
  }
  return JsonLine(report);
}

}  // namespace unetd::unetctl
