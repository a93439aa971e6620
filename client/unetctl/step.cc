#include "client/unetctl/step.h"

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/unetctl/help_text.h"
#include "client/unetctl/summary.h"
#include "client/unetctl/tensor_file.h"
#include "server/base/text.h"
#include "unetd/v1/denoiser.grpc.pb.h"

namespace unetd::unetctl {
namespace {

constexpr char kSample[] = "sample";
constexpr char kPrevSample[] = "prev_sample";
constexpr char kOriginal[] = "pred_original_sample";

// A file of tensors has no order, and a state may have names twice: "0000.state", "0001.state".
std::vector<v1::Tensor> WithPlaces(const v1::StepResponse& response) {
  std::vector<v1::Tensor> state(response.state().begin(), response.state().end());
  for (size_t i = 0; i < state.size(); ++i) {
    state[i].set_name(Format("{:04}.{}", i, state[i].name()));
  }
  return state;
}

// The same back: the tensors of a file come in the order of their names.
StatusOr<std::vector<v1::Tensor>> ReadState(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<v1::Tensor> state, ReadTensors(path));
  for (v1::Tensor& tensor : state) {
    const size_t dot = tensor.name().find('.');
    if (dot == std::string::npos || dot != tensor.name().find_first_not_of("0123456789")) {
      return InvalidArgument(Format("{}: tensor {}: expected a file that --out-state wrote", path,
                                    Quoted(tensor.name())));
    }
    tensor.set_name(tensor.name().substr(dot + 1));
  }
  return state;
}

Status FillConditions(const StepOptions& options, bool guided, v1::StepRequest& request) {
  ASSIGN_OR_RETURN(PromptInputs prompts, LoadPrompts(options.prompts, guided));
  ASSIGN_OR_RETURN(TensorMap positive, LoadInputs(options.inputs));
  TensorMap negative;
  if (guided) {
    RETURN_IF_ERROR(LoadNamed(options.inputs.negative, &negative));
    TensorMap same = positive;
    negative.merge(same);
    negative.merge(prompts.negative);
  }
  positive.merge(prompts.positive);
  for (auto& [name, tensor] : positive) *request.add_conditions() = std::move(tensor);
  for (auto& [name, tensor] : negative) *request.add_negative_conditions() = std::move(tensor);
  return OkStatus();
}

StatusOr<v1::StepRequest> MakeRequest(const StepOptions& options) {
  v1::StepRequest request;
  request.set_variant(options.variant);
  request.set_id(options.id);
  request.set_step_index(options.step_index);
  if (options.timestep) request.set_timestep(*options.timestep);
  // What the step before wrote is a sample, too.
  ASSIGN_OR_RETURN(*request.mutable_sample(), ReadTensor(options.sample, {kSample, kPrevSample}));
  ASSIGN_OR_RETURN(const Loop loop, LoadLoop(options.loop));
  const int64_t rows = request.sample().shape_size() > 0 ? request.sample().shape(0) : 1;
  RETURN_IF_ERROR(FillLoop(loop, {0, rows, rows}, request));
  RETURN_IF_ERROR(FillConditions(options, loop.guided(), request));
  if (options.seed) {
    for (int64_t row = 0; row < rows; ++row) request.add_seeds(*options.seed + row);
  }
  if (!options.state.empty()) {
    ASSIGN_OR_RETURN(std::vector<v1::Tensor> state, ReadState(options.state));
    for (v1::Tensor& tensor : state) *request.add_state() = std::move(tensor);
  }
  return request;
}

Status WriteFiles(const StepOptions& options, const std::vector<v1::Tensor>& samples,
                  const v1::StepResponse& response) {
  if (!options.out.empty()) {
    const size_t count = IsNpyFile(options.out) ? 1 : samples.size();
    RETURN_IF_ERROR(WriteTensors(options.out, std::span(samples).first(count)));
  }
  if (!options.out_original.empty()) {
    if (samples.size() < 2) return Internal("--out-original: the answer has no such sample");
    RETURN_IF_ERROR(WriteTensors(options.out_original, std::span(samples).subspan(1)));
  }
  if (!options.out_state.empty()) {
    RETURN_IF_ERROR(WriteTensors(options.out_state, WithPlaces(response)));
  }
  return OkStatus();
}

void Print(const StepOptions& options, const std::vector<TensorSummary>& samples,
           const std::vector<TensorSummary>& state, const v1::StepResponse& response, double ms) {
  if (!options.json) {
    std::fputs(SummaryText(samples).c_str(), stdout);
    if (response.state_size() > 0) {  // whose numbers are the scheduler's own business
      size_t bytes = 0;
      for (const v1::Tensor& tensor : response.state()) bytes += tensor.raw().size();
      std::printf("state for the next step: %d tensors, %s\n", response.state_size(),
                  HumanBytes(bytes).c_str());
    }
    std::printf("variant %s\ntime %.2f ms; of it in the UNet and the scheduler: %.2f ms\n",
                Printable(response.variant()).c_str(), ms, response.step_ms());
    return;
  }
  nlohmann::ordered_json report;
  report["variant"] = response.variant();
  report["step_index"] = options.step_index;
  report["ms"] = ms;
  report["step_ms"] = response.step_ms();
  report["outputs"] = SummaryJson(samples);
  report["state"] = SummaryJson(state);
  if (!options.out.empty()) report["out"] = options.out;
  if (!options.out_original.empty()) report["out_original"] = options.out_original;
  if (!options.out_state.empty()) report["out_state"] = options.out_state;
  std::fputs(JsonLine(report).c_str(), stdout);
}

Status Finish(const StepOptions& options, v1::StepResponse& response, double ms) {
  std::vector<v1::Tensor> samples = {std::move(*response.mutable_prev_sample())};
  samples[0].set_name(kPrevSample);
  if (!response.pred_original_sample().datatype().empty()) {
    samples.push_back(std::move(*response.mutable_pred_original_sample()));
    samples[1].set_name(kOriginal);
  }
  ASSIGN_OR_RETURN(const auto summaries, SummarizeAll(samples));
  const std::vector<v1::Tensor> state(response.state().begin(), response.state().end());
  ASSIGN_OR_RETURN(const auto state_summaries, SummarizeAll(state));
  RETURN_IF_ERROR(WriteFiles(options, samples, response));
  Print(options, summaries, state_summaries, response, ms);
  return OkStatus();
}

}  // namespace

void AddStepOptions(CLI::App* command, StepOptions* options) {
  command->add_option("-m,--model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  command
      ->add_option("-v,--variant", options->variant,
                   "Variant; unsaid: the server chooses one, by --id")
      ->type_name("VARIANT");
  command->add_option("--id", options->id, "Request id: the same id gets the same variant")
      ->type_name("ID");
  TakesFile(command->add_option("-s,--sample", options->sample,
                                "The latents before the step [B,C,H,W]: a .npy file, or a "
                                ".safetensors file with `sample` or `prev_sample`"))
      ->required();
  auto* index = command->add_option("--step-index", options->step_index,
                                    "Which of the loop's steps this is, from 0");
  index->capture_default_str()->check(CLI::Range(0, 1000000).description(""))->type_name("N");
  command
      ->add_option("-t,--timestep", options->timestep,
                   "The step by its timestep, one of the scheduler's")
      ->type_name("X")
      ->excludes(index);
  AddInputOptions(command, &options->inputs, true);
  AddPromptOptions(command, &options->prompts, true);
  AddLoopOptions(command, &options->loop);
  command
      ->add_option("--seed", options->seed,
                   "Row i draws the noise that the scheduler adds from seed + i")
      ->type_name("N");
  AddLoopTensorOptions(command, &options->loop);
  TakesFile(command->add_option("--state", options->state,
                                "The state that the step before wrote; none for the first step"));
  const OptionGroup group(command, "Results");
  TakesNewTensorFile(command->add_option(
      "-o,--out", options->out,
      "Write prev_sample to this file; a .safetensors file gets pred_original_sample, too"));
  TakesNewTensorFile(command->add_option("--out-original", options->out_original,
                                         "Write pred_original_sample to this file"));
  TakesNewTensorFile(command->add_option("--out-state", options->out_state,
                                         "Write the state for the next step to this .safetensors "
                                         "file"));
  command->add_flag("--json", options->json, "Print one line of JSON instead of a table");
  command->footer(
      "Example, two steps of a loop of 25:\n"
      "  unetctl step -s noise.npy --step-index 0 -c prompts.safetensors -p 3 \\\n"
      "      -v default -o x.safetensors --out-state state.safetensors\n"
      "  unetctl step -s x.safetensors --step-index 1 -c prompts.safetensors -p 3 \\\n"
      "      -v default --state state.safetensors -o x.safetensors --out-state state.safetensors\n"
      "JSON: variant, step_index, ms, step_ms (by the server's clock), outputs and state\n"
      "[{name, datatype, shape, min, mean, max, std, nan, inf}], out, out_original, out_state.");
}

Outcome Step(const Connection& connection, const StepOptions& options) {
  auto request = MakeRequest(options);
  if (!request.ok()) return LocalFailure(request.status());
  v1::Model model;
  if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
  request->set_model(model.name());
  grpc::ClientContext context;
  connection.Prepare(context);
  v1::StepResponse response;
  const auto stub = v1::Denoiser::NewStub(connection.channel);
  const auto start = std::chrono::steady_clock::now();
  const grpc::Status status = stub->Step(&context, *request, &response);
  const double ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (!status.ok()) return RpcFailure(status, connection.address);
  return LocalFailure(Finish(options, response, ms));
}

}  // namespace unetd::unetctl
