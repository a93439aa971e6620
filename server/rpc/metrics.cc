#include "server/rpc/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <functional>

#include "server/base/cpu.h"

namespace unetd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Page {
 public:
  // Fill it before the next one is made.
  MetricFamily& Family(const char* name, const char* help, MetricType type) {
    families_.push_back({name, help, type, {}});
    return families_.back();
  }

  void Gauge(const char* name, const char* help, double value, Labels labels = {}) {
    Add(Family(name, help, MetricType::Gauge), value, std::move(labels));
  }

  static void Add(MetricFamily& family, double value, Labels labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    metric.gauge.value = value;
    family.metric.push_back(std::move(metric));
  }

  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

// Triton's, and the variant.
Labels LabelsOf(const VariantStats& stats) {
  return {{"model", stats.model}, {"version", kOnlyVersion}, {"variant", stats.variant}};
}

void AddCounters(const ServerStats& stats, Page& page) {
  struct Row {
    const char* name;
    const char* help;
    std::function<double(const VariantStats&)> value;
  };
  const Row kRows[] = {
      {"nv_inference_request_success", "Number of successful inference requests",
       [](const VariantStats& s) { return s.success.count; }},
      {"nv_inference_count", "Number of inferences performed (rows)",
       [](const VariantStats& s) { return s.inference_count; }},
      {"nv_inference_exec_count",
       "Number of forwards of the UNet; one that requests share counts once",
       [](const VariantStats& s) { return s.execution_count; }},
      {"nv_inference_request_duration_us", "Cumulative inference request duration in microseconds",
       [](const VariantStats& s) { return s.success.ns / 1000.0; }},
      {"nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds",
       [](const VariantStats& s) { return s.queue.ns / 1000.0; }},
      {"nv_inference_compute_input_duration_us",
       "Cumulative compute input duration in microseconds",
       [](const VariantStats& s) { return s.compute_input.ns / 1000.0; }},
      {"nv_inference_compute_infer_duration_us",
       "Cumulative compute inference duration in microseconds",
       [](const VariantStats& s) { return s.compute_infer.ns / 1000.0; }},
      {"nv_inference_compute_output_duration_us",
       "Cumulative compute output duration in microseconds",
       [](const VariantStats& s) { return s.compute_output.ns / 1000.0; }},
      {"unetd_denoise_requests", "Denoising requests that succeeded",
       [](const VariantStats& s) { return s.denoise_requests; }},
      {"unetd_denoise_steps", "Denoising steps done",
       [](const VariantStats& s) { return s.denoise_steps; }},
  };
  for (const Row& row : kRows) {
    MetricFamily& family = page.Family(row.name, row.help, MetricType::Counter);
    for (const VariantStats& variant : stats.variants) {
      Page::Add(family, row.value(variant), LabelsOf(variant));
    }
  }
  MetricFamily& failures = page.Family("nv_inference_request_failure",
                                       "Number of failed inference requests", MetricType::Counter);
  for (const VariantStats& variant : stats.variants) {
    for (int reason = 0; reason < kFailReasons; ++reason) {
      Labels labels = LabelsOf(variant);
      labels.push_back({"reason", std::string(FailReasonName(static_cast<FailReason>(reason)))});
      Page::Add(failures, static_cast<double>(variant.failures[reason]), std::move(labels));
    }
  }
}

void AddHistogram(const ServerStats& stats, const char* name, const char* help,
                  Histogram VariantStats::*member, Page& page) {
  MetricFamily& family = page.Family(name, help, MetricType::Histogram);
  for (const VariantStats& variant : stats.variants) {
    const Histogram& histogram = variant.*member;
    ClientMetric metric;
    metric.label = LabelsOf(variant);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < histogram.counts.size(); ++i) {
      cumulative += histogram.counts[i];
      const double bound = i < histogram.bounds.size() ? histogram.bounds[i]
                                                       : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = histogram.sum;
    family.metric.push_back(std::move(metric));
  }
}

void AddDomains(const ServerStats& stats, Page& page) {
  MetricFamily& memory = page.Family(
      "unetd_memory_bytes", "Bytes held in a memory domain, by what holds them", MetricType::Gauge);
  for (const DomainStats& domain : stats.domains) {
    const std::pair<const char*, uint64_t> kAccounts[] = {{"weights", domain.weights_bytes},
                                                          {"arena", domain.arena_bytes},
                                                          {"requests", domain.requests_bytes},
                                                          {"plans", domain.plans_bytes}};
    for (const auto& [account, bytes] : kAccounts) {
      Page::Add(memory, static_cast<double>(bytes),
                {{"domain", domain.domain}, {"account", account}});
    }
  }
  MetricFamily& limit =
      page.Family("unetd_memory_limit_bytes", "limits.memory_mib", MetricType::Gauge);
  for (const DomainStats& domain : stats.domains) {
    Page::Add(limit, static_cast<double>(domain.memory_limit), {{"domain", domain.domain}});
  }
  MetricFamily& running =
      page.Family("unetd_requests_running", "Requests that hold a turn", MetricType::Gauge);
  for (const DomainStats& domain : stats.domains) {
    Page::Add(running, static_cast<double>(domain.running), {{"domain", domain.domain}});
  }
  MetricFamily& pending =
      page.Family("nv_inference_pending_request_count",
                  "Instantaneous number of pending requests per model", MetricType::Gauge);
  std::map<std::string, uint64_t> queued;  // by model, as Triton has it
  for (const VariantStats& variant : stats.variants) queued[variant.model] += variant.queued;
  for (const auto& [model, count] : queued) {
    Page::Add(pending, static_cast<double>(count), {{"model", model}, {"version", kOnlyVersion}});
  }
  MetricFamily& requests =
      page.Family("unetd_requests", "Requests that are not answered, by state", MetricType::Gauge);
  for (const VariantStats& variant : stats.variants) {
    const std::pair<const char*, uint64_t> kStates[] = {{"queued", variant.queued},
                                                        {"running", variant.running}};
    for (const auto& [state, count] : kStates) {
      Labels labels = LabelsOf(variant);
      labels.push_back({"state", state});
      Page::Add(requests, static_cast<double>(count), std::move(labels));
    }
  }
}

}  // namespace

std::string MetricsText(const Server& server) {
  const ServerStats stats = server.Stats();
  Page page;
  AddCounters(stats, page);
  AddHistogram(stats, "unetd_queue_seconds", "Time in the queue", &VariantStats::queue_seconds,
               page);
  AddHistogram(stats, "unetd_forward_seconds", "One inference: a forward of the UNet",
               &VariantStats::forward_seconds, page);
  AddHistogram(stats, "unetd_step_seconds", "One denoising step", &VariantStats::step_seconds,
               page);
  AddHistogram(stats, "unetd_batch_rows", "Rows of a forward of the UNet",
               &VariantStats::batch_rows, page);
  AddHistogram(stats, "unetd_batch_requests", "Requests that shared a forward of the UNet",
               &VariantStats::batch_requests, page);
  AddDomains(stats, page);
  page.Gauge("unetd_plans_cached", "Plans kept", static_cast<double>(stats.plans_cached));
  page.Gauge("unetd_ready", "1 while the server is ready", server.ready() ? 1 : 0);
  page.Gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes",
             static_cast<double>(MachineMemoryBytes()));
  page.Gauge("unetd_resident_bytes", "Resident memory of this process",
             static_cast<double>(ResidentBytes()));
  page.Gauge("unetd_resident_peak_bytes", "Its highest so far",
             static_cast<double>(PeakResidentBytes()));
  return page.Text();
}

}  // namespace unetd
