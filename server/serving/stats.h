// Statistics: what requests came to, by model and variant. Counters only grow; gauges return to 0.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/base/status.h"
#include "server/serving/job.h"
#include "server/serving/request.h"

namespace unetd {

struct DurationStat {
  uint64_t count = 0;
  uint64_t ns = 0;
  void Add(uint64_t duration_ns) {
    ++count;
    ns += duration_ns;
  }
};

// Why a request failed. The texts are the metrics' label `reason`.
enum class FailReason { kRejected, kCanceled, kDeadline, kBackend, kOther };
inline constexpr int kFailReasons = 5;
std::string_view FailReasonName(
    FailReason reason);  // "REJECTED", "CANCELED", "DEADLINE", "BACKEND", "OTHER"
FailReason FailReasonOf(Code code);

// Buckets by their upper bounds.
struct Histogram {
  explicit Histogram(std::span<const double> upper) : bounds(upper), counts(upper.size() + 1) {}
  void Add(double value);

  std::span<const double> bounds;  // lasting
  std::vector<uint64_t> counts;    // not cumulative; the last: above all bounds
  double sum = 0;
};
inline constexpr double kSecondBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                           0.25,  0.5,    1,     2.5,  5,     10,   30};
inline constexpr double kCountBounds[] = {1, 2, 4, 8, 16, 32, 64, 128};

// Forwards of one number of rows.
struct BatchStat {
  DurationStat compute_input;
  DurationStat compute_infer;
  DurationStat compute_output;
};

// Of one model and variant. Denoising requests count as one success, and their rows once. A forward
// that requests of several variants share is counted for one of them.
struct VariantStats {
  std::string model;
  std::string variant;   // "": failed before a variant was assigned
  DurationStat success;  // from arrival to answer
  DurationStat fail;
  DurationStat queue;  // these four: of successes only
  DurationStat compute_input;
  DurationStat compute_infer;
  DurationStat compute_output;
  uint64_t inference_count = 0;           // rows
  uint64_t execution_count = 0;           // forwards of the UNet, of requests that failed later too
  uint64_t last_inference_ms = 0;         // since 1970; 0: never
  std::map<uint64_t, BatchStat> batches;  // by rows of a forward
  std::array<uint64_t, kFailReasons> failures{};
  uint64_t denoise_requests = 0;             // that succeeded
  uint64_t denoise_steps = 0;                // done, of requests that failed later too
  Histogram step_seconds{kSecondBounds};     // one denoising step
  Histogram forward_seconds{kSecondBounds};  // one inference
  Histogram queue_seconds{kSecondBounds};
  Histogram batch_rows{kCountBounds};      // of a forward
  Histogram batch_requests{kCountBounds};  // that shared a forward
  // Gauges.
  uint64_t queued = 0;
  uint64_t running = 0;
};

// Gauges of one backend that owns memory; the bytes are those of its memory domain.
struct DomainStats {
  std::string backend;
  std::string domain;
  uint64_t queued = 0;
  uint64_t running = 0;
  uint64_t memory_limit = 0;
  uint64_t weights_bytes = 0;
  uint64_t arena_bytes = 0;
  uint64_t requests_bytes = 0;
  uint64_t plans_bytes = 0;
};

struct ServerStats {
  std::vector<VariantStats> variants;
  std::vector<DomainStats> domains;
  uint64_t plan_hits = 0;
  uint64_t plan_misses = 0;
  uint64_t plans_cached = 0;
};

// Any thread.
class Statistics {
 public:
  struct Success {
    std::string_view model, variant;
    uint64_t inferences = 0;  // rows asked for
    uint64_t total_ns = 0;
    Timings timings;
    bool denoise = false;
  };
  // Makes the row of a model and variant, so that it is shown before the first request.
  void Declare(const std::string& model, const std::string& variant);
  void AddSuccess(const Success& success);
  void AddFailure(std::string_view model, std::string_view variant, Code code, uint64_t total_ns);
  void AddForward(std::string_view model, std::string_view variant, const ForwardRecord& forward);
  void AddDenoiseStep(std::string_view model, std::string_view variant, uint64_t ns);
  std::vector<VariantStats> Snapshot() const;  // by model, then variant

 private:
  VariantStats& At(std::string_view model, std::string_view variant);  // with mutex_ held

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, VariantStats> rows_;
};

}  // namespace unetd
