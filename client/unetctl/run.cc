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

// The inputs of these rows: of the prompts, and those of the command line, which stand over them.
StatusOr<TensorMap> RowInputs(const Conditions* conditions, std::span<const std::string> prompts,
                              const TensorMap& given, const RowRange& range) {
  TensorMap inputs;
  for (const auto& [name, tensor] : given) {
    ASSIGN_OR_RETURN(v1::Tensor rows, RowsOf(tensor, range));
    inputs.emplace(name, std::move(rows));
  }
  if (conditions == nullptr) return inputs;
  ASSIGN_OR_RETURN(std::vector<v1::Tensor> stacked, conditions->Stack(prompts));
  for (v1::Tensor& tensor : stacked) {
    const std::string name = tensor.name();
    inputs.emplace(name, std::move(tensor));
  }
  return inputs;
}

Status FillConditions(const Job& job, const Conditions* conditions, const RowRange& range,
                      v1::DenoiseRequest& request) {
  const auto rows = static_cast<size_t>(range.count);
  const std::span<const std::string> prompts(&job.prompts[static_cast<size_t>(range.first)], rows);
  ASSIGN_OR_RETURN(TensorMap positive, RowInputs(conditions, prompts, job.inputs, range));
  for (auto& [name, tensor] : positive) *request.add_conditions() = std::move(tensor);
  if (!job.loop.guided()) return OkStatus();
  TensorMap given = job.negative_inputs;
  TensorMap same = job.inputs;
  given.merge(same);
  const std::vector<std::string> negative(rows, job.negative);
  ASSIGN_OR_RETURN(TensorMap without,
                   RowInputs(job.negative.empty() ? nullptr : conditions, negative, given, range));
  for (auto& [name, tensor] : without) *request.add_negative_conditions() = std::move(tensor);
  return OkStatus();
}

StatusOr<v1::DenoiseRequest> MakeRequest(const Job& job, const Conditions* conditions,
                                         const std::string& variant, const RowRange& range) {
  v1::DenoiseRequest request;
  request.set_model(job.model);
  request.set_variant(variant);
  request.set_id(job.id);
  request.set_start_step(job.start_step);
  request.set_end_step(job.end_step);
  request.set_preview_every(job.preview_every);
  if (!job.loop.Has("latents") && !job.loop.Has("image_latents")) {  // else they tell the shape
    request.add_shape(range.count);
    for (const int64_t size : job.row_shape) request.add_shape(size);
  }
  for (int64_t row = range.first; row < range.first + range.count; ++row) {
    request.add_seeds(job.seed + row);
  }
  RETURN_IF_ERROR(FillLoop(job.loop, range, request));
  RETURN_IF_ERROR(FillConditions(job, conditions, range, request));
  return request;
}

// A sample's rows as floats, behind those that are there.
Status AppendRows(const v1::Tensor& tensor, const Shape& row_shape, size_t rows,
                  std::vector<float>* samples) {
  const std::optional<DType> dtype = DTypeFromWireName(tensor.datatype());
  if (!dtype || !IsFloat(*dtype)) {
    return Internal(
        Format("the result's datatype is {}: expected a float type", Quoted(tensor.datatype())));
  }
  Shape expected = row_shape;
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

Status TellPreview(const v1::Preview& preview, const Job& job, const RowRange& range,
                   const RunObserver& observer) {
  if (!observer.preview) return OkStatus();
  PreviewRows rows;
  rows.step = preview.step();
  rows.first = static_cast<size_t>(range.first);
  rows.rows = static_cast<size_t>(range.count);
  RETURN_IF_ERROR(AppendRows(preview.sample(), job.row_shape, rows.rows, &rows.samples));
  return observer.preview(rows);
}

Outcome RunGroup(const Connection& connection, const v1::DenoiseRequest& request, const Job& job,
                 const RowRange& range, const RunObserver& observer, VariantRun* run) {
  grpc::ClientContext context;
  connection.Prepare(context);
  const auto stub = v1::Denoiser::NewStub(connection.channel);
  const auto stream = stub->Denoise(&context, request);
  v1::DenoiseResponse response;
  Status result = Internal("the server's stream ended without a result");
  Status previews;
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
        if (observer.step) observer.step(response.progress().total());
        break;
      case v1::DenoiseResponse::kPreview:
        previews = TellPreview(response.preview(), job, range, observer);
        if (!previews.ok()) context.TryCancel();
        break;
      case v1::DenoiseResponse::kResult:
        result = AppendRows(response.result().sample(), job.row_shape,
                            static_cast<size_t>(range.count), &run->samples);
        break;
      default:
        break;  // what later servers may tell
    }
    if (!previews.ok()) break;
  }
  const grpc::Status status = stream->Finish();
  if (!previews.ok()) return LocalFailure(previews);
  if (!status.ok()) return RpcFailure(status, connection.address);
  run->steps = std::max(run->steps, steps);
  ++run->requests;
  return LocalFailure(result);
}

}  // namespace

int64_t RequestsInAll(const Job& job) {
  const auto rows = static_cast<int64_t>(job.prompts.size());
  return (rows + job.max_rows - 1) / job.max_rows;
}

int64_t StepsOfRequest(const Job& job) {
  const int64_t end = job.end_step > 0 ? job.end_step : job.loop.steps;
  return std::max<int64_t>(end - job.start_step, 0);
}

int64_t StepsInAll(const Job& job) { return StepsOfRequest(job) * RequestsInAll(job); }

Outcome RunVariant(const Connection& connection, const Job& job, const Conditions* conditions,
                   const std::string& variant, const RunObserver& observer, VariantRun* run) {
  const Clock::time_point start = Clock::now();
  const auto total = static_cast<int64_t>(job.prompts.size());
  const int64_t group = std::max<int64_t>(job.max_rows, 1);
  for (int64_t first = 0; first < total; first += group) {
    const RowRange range = {first, std::min(group, total - first), total};
    const auto request = MakeRequest(job, conditions, variant, range);
    if (!request.ok()) return LocalFailure(request.status());
    if (Outcome failure = RunGroup(connection, *request, job, range, observer, run)) return failure;
  }
  run->seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return std::nullopt;
}

}  // namespace unetd::unetctl
