#include "client/unetctl/server_times.h"

#include <chrono>
#include <utility>

#include "inference/grpc_service.grpc.pb.h"

namespace unetd::unetctl {
namespace {

constexpr std::chrono::seconds kPatience{5};  // for numbers that are nice to have

struct Forwards {
  uint64_t forwards = 0;
  uint64_t rows = 0;
};

Forwards ForwardsOf(const inference::ModelStatistics& statistics) {
  Forwards sum;
  for (const auto& batch : statistics.batch_stats()) {
    sum.forwards += batch.compute_infer().count();
    sum.rows += batch.compute_infer().count() * batch.batch_size();
  }
  return sum;
}

double MillisecondsBetween(const inference::StatisticDuration& before,
                           const inference::StatisticDuration& after) {
  return static_cast<double>(after.ns() - before.ns()) / 1e6;
}

}  // namespace

ServerTimes TimesBetween(const inference::ModelStatistics& before,
                         const inference::ModelStatistics& after) {
  ServerTimes times;
  const auto& old = before.inference_stats();
  const auto& now = after.inference_stats();
  if (now.success().count() == old.success().count() + 1) {
    times.queue_ms = MillisecondsBetween(old.queue(), now.queue());
    times.compute_ms = MillisecondsBetween(old.compute_infer(), now.compute_infer());
  }
  const Forwards first = ForwardsOf(before);
  const Forwards last = ForwardsOf(after);
  if (last.forwards > first.forwards && last.rows >= first.rows) {
    times.rows_per_forward = static_cast<double>(last.rows - first.rows) /
                             static_cast<double>(last.forwards - first.forwards);
  }
  return times;
}

ServerTimesProbe::ServerTimesProbe(const Connection& connection, std::string model)
    : connection_(connection), model_(std::move(model)), before_(Fetch()) {}

ServerTimes ServerTimesProbe::Times() const {
  const auto after = before_ ? Fetch() : std::nullopt;
  return after ? TimesBetween(*before_, *after) : ServerTimes();
}

std::optional<inference::ModelStatistics> ServerTimesProbe::Fetch() const {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  inference::ModelStatisticsRequest request;
  request.set_name(model_);
  inference::ModelStatisticsResponse response;
  const auto stub = inference::GRPCInferenceService::NewStub(connection_.channel);
  if (!stub->ModelStatistics(&context, request, &response).ok()) return std::nullopt;
  if (response.model_stats_size() != 1) return std::nullopt;
  return response.model_stats(0);
}

}  // namespace unetd::unetctl
