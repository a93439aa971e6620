// The checks of a denoising request.
#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"
#include "server/serving/request_checks.h"

namespace unetd {
namespace {

Status CheckNumber(std::string_view name, double value, double min, double max) {
  if (value >= min && value <= max) return OkStatus();
  return InvalidArgument(
      Format("{}: expected a number from {} to {}, got {}", name, min, max, value));
}

StatusOr<std::unique_ptr<Scheduler>> SchedulerFor(const ServedModel& model,
                                                  const DenoiseRequest& request) {
  const std::string& own = model.scheduler_text();
  if (request.scheduler_json.empty() && own.empty()) {
    return Status(Code::kFailedPrecondition,
                  Format("model {} has no scheduler config: send scheduler_json, or give the model "
                         "a scheduler",
                         Quoted(model.name())));
  }
  const bool overrides = !request.scheduler_json.empty();
  const auto config =
      overrides ? ParseSchedulerConfig(request.scheduler_json, own) : ParseSchedulerConfig(own);
  if (!config.ok()) return config.status().WithContext(overrides ? "scheduler_json: " : "");
  return MakeScheduler(*config);
}

Status CheckSteps(const DenoiseRequest& request, DenoiseOptions& options) {
  const int64_t steps = request.num_inference_steps;
  options.start_step = request.start_step;
  options.end_step = request.end_step.value_or(steps);
  if (options.end_step < 1 || options.end_step > steps) {
    return InvalidArgument(Format("end_step: expected 1 to {} (num_inference_steps), got {}", steps,
                                  options.end_step));
  }
  if (options.start_step < 0 || options.start_step >= options.end_step) {
    return InvalidArgument(Format("start_step: expected 0 to {} (before end_step), got {}",
                                  options.end_step - 1, options.start_step));
  }
  if (request.preview_every < 0) {
    return InvalidArgument(
        Format("preview_every: expected 0 or more steps, got {}", request.preview_every));
  }
  return OkStatus();
}

Status CheckNegative(const DenoiseRequest& request, bool guided) {
  const auto& negative = request.negative_conditions;
  if (negative.empty() && !guided) return OkStatus();
  for (const NamedTensor& tensor : request.conditions) {
    const auto other =
        std::find_if(negative.begin(), negative.end(),
                     [&](const NamedTensor& candidate) { return candidate.name == tensor.name; });
    if (other == negative.end()) {
      return InvalidArgument(
          Format("negative_conditions: missing {}: expected the names and shapes of conditions{}",
                 Quoted(tensor.name), guided ? ", since guidance_scale is above 1" : ""));
    }
    if (other->view.shape != tensor.view.shape) {
      return InvalidArgument(
          Format("negative_conditions: {}: expected shape {} as in conditions, "
                 "got {}",
                 Quoted(tensor.name), ShapeText(tensor.view.shape), ShapeText(other->view.shape)));
    }
  }
  if (negative.size() != request.conditions.size()) {
    return InvalidArgument(
        Format("negative_conditions: expected the {} tensors of conditions, got {}",
               request.conditions.size(), negative.size()));
  }
  if (negative.empty()) {
    return InvalidArgument("guidance_scale: guidance above 1 needs conditions");
  }
  return OkStatus();
}

// Both sets by the same rules as an inference's inputs.
StatusOr<UNetShape> ResolveConditions(const ServedModel& model, const CheckedDenoise& checked,
                                      const std::vector<NamedTensor>& conditions) {
  std::vector<NamedShape> sent = {{wire::kSample, checked.dtype, checked.sample_shape},
                                  {wire::kTimestep, DType::kFloat32, {1}}};
  for (const NamedTensor& tensor : conditions) {
    if (tensor.name == wire::kSample || tensor.name == wire::kTimestep) {
      return InvalidArgument(Format("'{}' is no condition: the loop itself gives it", tensor.name));
    }
    sent.push_back({tensor.name, tensor.view.dtype, tensor.view.shape});
  }
  return model.unet().Resolve(model.name(), sent);
}

Status CheckSample(const ServedModel& model, const DenoiseRequest& request,
                   CheckedDenoise& checked) {
  if (request.latents) {
    if (!request.shape.empty() && request.shape != request.latents->shape) {
      return InvalidArgument(Format("shape: expected nothing or the latents' {}, got {}",
                                    ShapeText(request.latents->shape), ShapeText(request.shape)));
    }
    checked.dtype = request.latents->dtype;
    checked.sample_shape = request.latents->shape;
  } else if (request.shape.empty()) {
    return InvalidArgument("latents: expected latents, or shape and seeds, got neither");
  } else {
    checked.sample_shape = request.shape;
  }
  const UNetConfig& config = model.unet().config();
  if (config.in_channels != config.out_channels) {
    return Unimplemented(Format(
        "model {} takes {} channels and gives {}: denoising is built for UNets where both are the "
        "same; call inference step by step",
        Quoted(model.name()), config.in_channels, config.out_channels));
  }
  return OkStatus();
}

Status CheckNoise(const DenoiseRequest& request, const CheckedDenoise& checked) {
  const bool noisy =
      checked.scheduler->NeedsNoise(checked.options.start_step, checked.options.step);
  if (request.noise) {
    Shape expected = {checked.options.end_step - checked.options.start_step};
    expected.insert(expected.end(), checked.sample_shape.begin(), checked.sample_shape.end());
    if (!noisy) return InvalidArgument("noise: expected nothing, since eta is 0");
    if (request.noise->shape != expected || !IsFloat(request.noise->dtype)) {
      return InvalidArgument(Format("noise: expected floats {} (steps, then the sample), got {} {}",
                                    ShapeText(expected), WireName(request.noise->dtype),
                                    ShapeText(request.noise->shape)));
    }
  }
  const bool draws = !request.latents || (noisy && !request.noise);
  if (request.seeds.size() != checked.batch && (draws || !request.seeds.empty())) {
    return InvalidArgument(
        Format("seeds: expected {}, one a row, got {}", checked.batch, request.seeds.size()));
  }
  return OkStatus();
}

}  // namespace

StatusOr<CheckedDenoise> CheckDenoise(const ServedModel& model, const DenoiseRequest& request) {
  constexpr double kLargest = 1e6;
  CheckedDenoise checked;
  checked.options.guidance = {request.guidance_scale, request.guidance_rescale};
  checked.options.step = {request.eta, request.use_clipped_model_output};
  RETURN_IF_ERROR(CheckNumber("guidance_scale", request.guidance_scale, -kLargest, kLargest));
  RETURN_IF_ERROR(CheckNumber("guidance_rescale", request.guidance_rescale, 0, 1));
  RETURN_IF_ERROR(CheckNumber("eta", request.eta, 0, 1));
  RETURN_IF_ERROR(CheckSteps(request, checked.options));
  RETURN_IF_ERROR(CheckSample(model, request, checked));
  ASSIGN_OR_RETURN(checked.shape, ResolveConditions(model, checked, request.conditions));
  RETURN_IF_ERROR(CheckRows(model, checked.sample_shape[0]));
  checked.batch = static_cast<uint32_t>(checked.sample_shape[0]);
  RETURN_IF_ERROR(CheckNegative(request, checked.options.guidance.on()));
  if (!request.negative_conditions.empty()) {
    const auto negative = ResolveConditions(model, checked, request.negative_conditions);
    if (!negative.ok()) return negative.status().WithContext("negative_conditions: ");
  }
  RETURN_IF_ERROR(CheckLabels(model, request.conditions));
  if (Status status = CheckLabels(model, request.negative_conditions); !status.ok()) {
    return status.WithContext("negative_conditions: ");
  }
  ASSIGN_OR_RETURN(checked.scheduler, SchedulerFor(model, request));
  RETURN_IF_ERROR(checked.scheduler->SetTimesteps(request.num_inference_steps));
  RETURN_IF_ERROR(CheckNoise(request, checked));
  return checked;
}

}  // namespace unetd
