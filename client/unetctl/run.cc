#include "client/unetctl/run.h"

#include <algorithm>
#include <chrono>
#include <span>

#include "server/base/text.h"
#include "server/tensor/convert.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd::unetctl {
namespace {

using Clock = std::chrono::steady_clock;

StatusOr<v1::DenoiseRequest> MakeRequest(const Job& job, const Conditions* conditions,
                                         const std::string& variant, size_t first, size_t rows) {
  v1::DenoiseRequest request;
  request.set_model(job.model);
  request.set_variant(variant);
  request.set_id(job.id);
  request.set_scheduler_json(job.scheduler_json);
  request.set_num_inference_steps(job.steps);
  request.set_start_step(job.start_step);
  request.set_end_step(job.end_step);
  request.add_shape(static_cast<int64_t>(rows));
  for (const int64_t size : job.row_shape) request.add_shape(size);
  for (size_t row = first; row < first + rows; ++row) {
    request.add_seeds(job.seed + static_cast<int64_t>(row));
  }
  request.set_guidance_scale(job.guidance);
  request.set_guidance_rescale(job.guidance_rescale);
  request.set_eta(job.eta);
  request.set_use_clipped_model_output(job.use_clipped_model_output);
  if (conditions == nullptr) return request;

  const std::span<const std::string> prompts(&job.prompts[first], rows);
  ASSIGN_OR_RETURN(std::vector<v1::Tensor> positive, conditions->Stack(prompts));
  for (v1::Tensor& tensor : positive) *request.add_conditions() = std::move(tensor);
  if (!job.negative.empty()) {
    const std::vector<std::string> same(rows, job.negative);
    ASSIGN_OR_RETURN(std::vector<v1::Tensor> negative, conditions->Stack(same));
    for (v1::Tensor& tensor : negative) *request.add_negative_conditions() = std::move(tensor);
  }
  return request;
}

// The result's rows as floats, behind those that are there.
Status AppendRows(const v1::Tensor& tensor, const Job& job, size_t rows,
                  std::vector<float>* samples) {
  const std::optional<DType> dtype = DTypeFromWireName(tensor.datatype());
  if (!dtype || !IsFloat(*dtype)) {
    return Internal(
        Format("the result's datatype is {}: expected a float type", Quoted(tensor.datatype())));
  }
  Shape expected = job.row_shape;
  expected.insert(expected.begin(), static_cast<int64_t>(rows));
  const Shape shape(tensor.shape().begin(), tensor.shape().end());
  ASSIGN_OR_RETURN(const uint64_t bytes, CheckedBytes(expected, *dtype));
  if (shape != expected || tensor.raw().size() != bytes) {
    return Internal(Format("the result is {} in {} bytes: expected {} in {} bytes",
                           ShapeText(shape), tensor.raw().size(), ShapeText(expected), bytes));
  }
  ASSIGN_OR_RETURN(Tensor aligned, Tensor::Allocate(*dtype, expected));
  std::copy(tensor.raw().begin(), tensor.raw().end(), aligned.as<char>());
  const size_t old = samples->size();
  samples->resize(old + aligned.elements());
  return Convert(aligned.View(), DType::kFloat32, samples->data() + old);
}

Outcome RunGroup(const Connection& connection, const v1::DenoiseRequest& request, const Job& job,
                 size_t rows, const RunObserver& observer, VariantRun* run) {
  grpc::ClientContext context;
  connection.Prepare(context);
  const auto stub = v1::Denoiser::NewStub(connection.channel);
  const auto stream = stub->Denoise(&context, request);
  v1::DenoiseResponse response;
  Status problem = Internal("the server's stream ended without a result");
  int64_t steps = 0;
  while (stream->Read(&response)) {
    switch (response.event_case()) {
      case v1::DenoiseResponse::kAccepted:
        run->variant = response.accepted().variant();
        run->plan_bytes = std::max<uint64_t>(run->plan_bytes, response.accepted().plan_bytes());
        if (observer.accepted) observer.accepted(run->variant);
        break;
      case v1::DenoiseResponse::kProgress:
        ++steps;
        run->step_ms += response.progress().ms();
        if (observer.step) observer.step();
        break;
      case v1::DenoiseResponse::kResult:
        problem = AppendRows(response.result().sample(), job, rows, &run->samples);
        break;
      default:
        break;  // previews, and what later servers may tell
    }
  }
  if (Outcome failure = RpcFailure(stream->Finish(), connection.address)) return failure;
  run->steps = std::max(run->steps, steps);
  ++run->requests;
  return LocalFailure(problem);
}

}  // namespace

int64_t StepsOfRequest(const Job& job) {
  const int64_t end = job.end_step > 0 ? job.end_step : job.steps;
  return std::max<int64_t>(end - job.start_step, 0);
}

int64_t StepsInAll(const Job& job) {
  const auto rows = static_cast<int64_t>(job.prompts.size());
  return StepsOfRequest(job) * ((rows + job.max_rows - 1) / job.max_rows);
}

Outcome RunVariant(const Connection& connection, const Job& job, const Conditions* conditions,
                   const std::string& variant, const RunObserver& observer, VariantRun* run) {
  const Clock::time_point start = Clock::now();
  const auto group = static_cast<size_t>(std::max<int64_t>(job.max_rows, 1));
  for (size_t first = 0; first < job.prompts.size(); first += group) {
    const size_t rows = std::min(group, job.prompts.size() - first);
    const auto request = MakeRequest(job, conditions, variant, first, rows);
    if (!request.ok()) return LocalFailure(request.status());
    if (Outcome failure = RunGroup(connection, *request, job, rows, observer, run)) return failure;
  }
  run->seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return std::nullopt;
}

}  // namespace unetd::unetctl
