#include "client/unetctl/predict.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "client/unetctl/loop.h"
#include "client/unetctl/server_times.h"
#include "client/unetctl/summary.h"
#include "client/unetctl/tensor_file.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr char kVariant[] = "variant";

v1::Tensor Timestep(double value) {
  const auto narrow = static_cast<float>(value);
  return ToWire("timestep", {DType::kFloat32, {1}, &narrow, sizeof(narrow)});
}

StatusOr<TensorMap> GatherInputs(const PredictOptions& options) {
  ASSIGN_OR_RETURN(PromptInputs prompts, LoadPrompts(options.prompts, false));
  ASSIGN_OR_RETURN(TensorMap inputs, LoadInputs(options.inputs));
  inputs.merge(prompts.positive);  // keeps what is there: --input stands over prompts
  if (options.timestep) inputs.insert_or_assign("timestep", Timestep(*options.timestep));
  return inputs;
}

struct Prediction {
  std::string model;
  std::string variant;
  std::string id;
  v1::Tensor output;
  double ms = 0;  // from request to answer, by our clock
  ServerTimes server;
};

Outcome Run(const Connection& connection, const inference::ModelInferRequest& request,
            Prediction* prediction) {
  const auto stub = inference::GRPCInferenceService::NewStub(connection.channel);
  grpc::ClientContext context;
  connection.Prepare(context);
  const ServerTimesProbe probe(connection, request.model_name());
  inference::ModelInferResponse response;
  const auto start = std::chrono::steady_clock::now();
  const grpc::Status status = stub->ModelInfer(&context, request, &response);
  prediction->ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!status.ok()) return RpcFailure(status, connection.address);
  prediction->server = probe.Times();
  prediction->model = response.model_name();
  prediction->id = response.id();
  const auto variant = response.parameters().find(kVariant);
  if (variant != response.parameters().end()) {
    prediction->variant = variant->second.string_param();
  }
  auto output = TakeOutput(response);
  if (!output.ok()) return LocalFailure(output.status());
  prediction->output = *std::move(output);
  return std::nullopt;
}

std::string Milliseconds(const std::optional<double>& ms) {
  return ms ? Format("{:.2f} ms", *ms) : "not known";
}

nlohmann::ordered_json Number(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

void Print(const Prediction& prediction, const TensorSummary& summary,
           const PredictOptions& options) {
  if (!options.json) {
    std::fputs(SummaryText(std::span(&summary, 1)).c_str(), stdout);
    std::printf("model %s, variant %s\n", Printable(prediction.model).c_str(),
                Printable(prediction.variant).c_str());
    std::printf("time %.2f ms; of it by the server's word: queue %s, UNet %s\n", prediction.ms,
                Milliseconds(prediction.server.queue_ms).c_str(),
                Milliseconds(prediction.server.compute_ms).c_str());
    return;
  }
  nlohmann::ordered_json report;
  report["model"] = prediction.model;
  report["variant"] = prediction.variant;
  report["id"] = prediction.id;
  report["ms"] = prediction.ms;
  report["server"]["queue_ms"] = Number(prediction.server.queue_ms);
  report["server"]["compute_ms"] = Number(prediction.server.compute_ms);
  report["outputs"] = SummaryJson(std::span(&summary, 1));
  if (!options.out.empty()) report["out"] = options.out;
  std::fputs(JsonLine(report).c_str(), stdout);
}

}  // namespace

void AddPredictOptions(CLI::App* command, PredictOptions* options) {
  command->add_option("-m,--model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  command->add_option("-v,--variant", options->variant, "Variant; unsaid: the server chooses one")
      ->type_name("VARIANT");
  command->add_option("--id", options->id, "Request id: the same id gets the same variant")
      ->type_name("ID");
  AddInputOptions(command, &options->inputs, false);
  AddPromptOptions(command, &options->prompts, false);
  command->add_option("-t,--timestep", options->timestep, "The timestep of every row")
      ->type_name("X");
  AddPriorityOption(command, &options->priority);
  TakesNewTensorFile(command->add_option("-o,--out", options->out,
                                         "Write out_sample to this .safetensors or .npy file"));
  command->add_flag("--json", options->json, "Print one line of JSON instead of a table");
  command->footer(
      "Example: unetctl predict -i sample=x.npy -t 500 -c prompts.safetensors -p 3 -o eps.npy\n"
      "JSON: model, variant, id, ms, server{queue_ms, compute_ms: null where another request came\n"
      "between}, outputs[{name, datatype, shape, min, mean, max, std, nan, inf}], out.");
}

inference::ModelInferRequest MakeInferRequest(const std::string& model, const std::string& variant,
                                              uint64_t priority, const TensorMap& inputs) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  if (!variant.empty()) (*request.mutable_parameters())[kVariant].set_string_param(variant);
  if (priority > 0) (*request.mutable_parameters())["priority"].set_uint64_param(priority);
  for (const auto& [name, tensor] : inputs) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype(tensor.datatype());
    *input.mutable_shape() = tensor.shape();
    request.add_raw_input_contents(tensor.raw());
  }
  return request;
}

StatusOr<v1::Tensor> TakeOutput(inference::ModelInferResponse& response) {
  if (response.outputs_size() != 1 || response.raw_output_contents_size() != 1) {
    return Internal(Format("the answer has {} outputs and {} raw contents: expected one of each",
                           response.outputs_size(), response.raw_output_contents_size()));
  }
  v1::Tensor tensor;
  tensor.set_name(response.outputs(0).name());
  tensor.set_datatype(response.outputs(0).datatype());
  *tensor.mutable_shape() = response.outputs(0).shape();
  tensor.set_raw(std::move(*response.mutable_raw_output_contents(0)));
  return tensor;
}

Outcome Predict(const Connection& connection, const PredictOptions& options) {
  const auto inputs = GatherInputs(options);
  if (!inputs.ok()) return LocalFailure(inputs.status());
  if (inputs->empty()) return UsageFailure("no inputs: give --inputs FILE or --input NAME=FILE");
  v1::Model model;
  if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
  auto request = MakeInferRequest(model.name(), options.variant, options.priority, *inputs);
  request.set_id(options.id);
  Prediction prediction;
  if (Outcome failure = Run(connection, request, &prediction)) return failure;
  const auto summary = Summarize(prediction.output);
  if (!summary.ok()) return LocalFailure(summary.status());
  if (!options.out.empty()) {
    const Status written = WriteTensors(options.out, std::span(&prediction.output, 1));
    if (Outcome failure = LocalFailure(written)) return failure;
  }
  Print(prediction, *summary, options);
  return std::nullopt;
}

}  // namespace unetd::unetctl
