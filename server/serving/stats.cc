#include "server/serving/stats.h"

#include <algorithm>

namespace unetd {

std::string_view FailReasonName(FailReason reason) {
  switch (reason) {
    case FailReason::kRejected:
      return "REJECTED";
    case FailReason::kCanceled:
      return "CANCELED";
    case FailReason::kDeadline:
      return "DEADLINE";
    case FailReason::kBackend:
      return "BACKEND";
    case FailReason::kOther:
      break;
  }
  return "OTHER";
}

FailReason FailReasonOf(Code code) {
  switch (code) {
    case Code::kResourceExhausted:
    case Code::kUnavailable:
      return FailReason::kRejected;
    case Code::kCancelled:
      return FailReason::kCanceled;
    case Code::kDeadlineExceeded:
      return FailReason::kDeadline;
    case Code::kInternal:
      return FailReason::kBackend;
    default:
      return FailReason::kOther;
  }
}

void Histogram::Add(double value) {
  const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), value);
  ++counts[static_cast<size_t>(bucket - bounds.begin())];
  sum += value;
}

VariantStats& Statistics::At(std::string_view model, std::string_view variant) {
  const auto [found, added] =
      rows_.try_emplace({std::string(model), std::string(variant)}, VariantStats{});
  if (added) {
    found->second.model = model;
    found->second.variant = variant;
  }
  return found->second;
}

void Statistics::Declare(const std::string& model, const std::string& variant) {
  std::lock_guard lock(mutex_);
  At(model, variant);
}

void Statistics::AddSuccess(const Success& success) {
  const auto seconds = [](uint64_t ns) { return static_cast<double>(ns) * 1e-9; };
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const Timings& timings = success.timings;
  std::lock_guard lock(mutex_);
  VariantStats& row = At(success.model, success.variant);
  row.success.Add(success.total_ns);
  row.queue.Add(timings.queue_ns);
  row.compute_input.Add(timings.input_ns);
  row.compute_infer.Add(timings.compute_ns);
  row.compute_output.Add(timings.output_ns);
  row.inference_count += success.inferences;
  row.last_inference_ms =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  row.queue_seconds.Add(seconds(timings.queue_ns));
  if (success.denoise) {
    ++row.denoise_requests;
  } else {
    row.forward_seconds.Add(seconds(timings.compute_ns));
  }
}

void Statistics::AddFailure(std::string_view model, std::string_view variant, Code code,
                            uint64_t total_ns) {
  std::lock_guard lock(mutex_);
  VariantStats& row = At(model, variant);
  row.fail.Add(total_ns);
  ++row.failures[static_cast<size_t>(FailReasonOf(code))];
}

void Statistics::AddForward(std::string_view model, std::string_view variant,
                            const ForwardRecord& forward) {
  std::lock_guard lock(mutex_);
  VariantStats& row = At(model, variant);
  ++row.execution_count;
  BatchStat& batch = row.batches[forward.rows];
  batch.compute_input.Add(forward.input_ns);
  batch.compute_infer.Add(forward.compute_ns);
  batch.compute_output.Add(forward.output_ns);
  row.batch_rows.Add(forward.rows);
  row.batch_requests.Add(forward.requests);
}

void Statistics::AddDenoiseStep(std::string_view model, std::string_view variant, uint64_t ns) {
  std::lock_guard lock(mutex_);
  VariantStats& row = At(model, variant);
  ++row.denoise_steps;
  row.step_seconds.Add(static_cast<double>(ns) * 1e-9);
}

std::vector<VariantStats> Statistics::Snapshot() const {
  std::lock_guard lock(mutex_);
  std::vector<VariantStats> rows;
  rows.reserve(rows_.size());
  for (const auto& [key, row] : rows_) rows.push_back(row);
  return rows;
}

}  // namespace unetd
