#include "server/serving/loop_checks.h"

#include <algorithm>
#include <utility>

#include "server/base/text.h"
#include "server/serving/stage_inputs.h"

namespace unetd {
namespace {

using NamedTensors = std::vector<NamedTensor>;

Status CheckNumber(std::string_view name, double value, double min, double max) {
  if (value >= min && value <= max) return OkStatus();
  return InvalidArgument(
      Format("{}: expected a number from {} to {}, got {}", name, min, max, value));
}

StatusOr<SchedulerConfig> ConfigOf(const ServedModel& model, const std::string& own,
                                   const std::string& sent) {
  if (sent.empty() && own.empty()) {
    return Status(Code::kFailedPrecondition,
                  Format("model {} has no scheduler config: send scheduler_json, or give the model "
                         "a scheduler",
                         Quoted(model.name())));
  }
  if (sent.empty()) return ParseSchedulerConfig(own);
  auto config = ParseSchedulerConfig(sent, own);
  if (!config.ok()) return config.status().WithContext("scheduler_json: ");
  return config;
}

Status CheckNegative(const LoopRequest& request, bool guided) {
  const NamedTensors& negative = request.negative_conditions;
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
  if (negative.empty() && !request.negative_concat_latents) {
    return InvalidArgument("guidance_scale: guidance above 1 needs conditions");
  }
  return OkStatus();
}

// Both sets by the same rules as an inference's inputs.
StatusOr<UNetShape> ResolveConditions(const ServedModel& model, const CheckedDenoise& checked,
                                      const NamedTensors& conditions) {
  const int64_t steps = checked.options.end_step - checked.options.start_step;
  Shape sample = checked.sample_shape;
  sample[1] = model.unet().config().sample_channels();
  std::vector<NamedShape> sent = {{wire::kSample, checked.dtype, std::move(sample)},
                                  {wire::kTimestep, DType::kFloat32, {1}}};
  for (const NamedTensor& tensor : conditions) {
    if (tensor.name == wire::kSample || tensor.name == wire::kTimestep) {
      return InvalidArgument(Format("'{}' is no condition: the loop itself gives it", tensor.name));
    }
    Shape shape = tensor.view.shape;
    if (ChangesWithSteps(tensor)) {
      if (shape.front() != steps) {
        return InvalidArgument(
            Format("'{}': expected {} steps run as first of 5 dimensions, got {}", tensor.name,
                   steps, ShapeText(shape)));
      }
      shape.erase(shape.begin());
    }
    sent.push_back({tensor.name, tensor.view.dtype, std::move(shape)});
  }
  return model.unet().Resolve(model.name(), sent);
}

Status CheckConditions(const ServedModel& model, const LoopRequest& request,
                       CheckedDenoise& checked) {
  constexpr char kNegative[] = "negative_conditions: ";
  ASSIGN_OR_RETURN(checked.shape, ResolveConditions(model, checked, request.conditions));
  RETURN_IF_ERROR(CheckRows(model, checked.sample_shape[0]));
  checked.batch = static_cast<uint32_t>(checked.sample_shape[0]);
  RETURN_IF_ERROR(CheckNegative(request, checked.options.guidance.on()));
  if (!request.negative_conditions.empty()) {
    const auto negative = ResolveConditions(model, checked, request.negative_conditions);
    if (!negative.ok()) return negative.status().WithContext(kNegative);
  }
  RETURN_IF_ERROR(CheckLabels(model, request.conditions));
  return CheckLabels(model, request.negative_conditions).WithContext(kNegative);
}

Status CheckFloats(const char* field, const TensorView& tensor, const Shape& expected) {
  if (tensor.shape == expected && IsFloat(tensor.dtype)) return OkStatus();
  return InvalidArgument(Format("{}: expected floats {}, got {} {}", field, ShapeText(expected),
                                WireName(tensor.dtype), ShapeText(tensor.shape)));
}

// Whether any step of the whole loop adds noise: a client may send it for each.
bool EverNoisy(const CheckedDenoise& checked) {
  DenoiseOptions whole = checked.options;
  whole.start_step = 0;
  whole.end_step = static_cast<int64_t>(checked.scheduler->timesteps().size());
  return whole.NeedsNoise(*checked.scheduler);
}

Status CheckNoise(const LoopRequest& request, const LoopFacts& facts,
                  const CheckedDenoise& checked) {
  const bool noisy = checked.options.NeedsNoise(*checked.scheduler);
  const bool starts = checked.options.NeedsStartNoise(facts.has_latents);
  if (request.noise) {
    if (!EverNoisy(checked)) {
      return InvalidArgument(
          Format("noise: expected none, since {} adds none here", checked.scheduler->name()));
    }
    RETURN_IF_ERROR(CheckFloats("noise", *request.noise, facts.noise_shape));
  }
  if (request.start_noise) {
    if (!starts) return InvalidArgument("start_noise: expected none, since latents are given");
    RETURN_IF_ERROR(CheckFloats("start_noise", *request.start_noise, checked.sample_shape));
  }
  const bool draws = (starts && !request.start_noise) || (noisy && !request.noise);
  if (request.seeds.size() != checked.batch && (draws || !request.seeds.empty())) {
    return InvalidArgument(
        Format("seeds: expected {}, one a row, got {}", checked.batch, request.seeds.size()));
  }
  return OkStatus();
}

}  // namespace

Status CheckScheduler(const ServedModel& model, const LoopRequest& request,
                      CheckedDenoise& checked) {
  ASSIGN_OR_RETURN(const SchedulerConfig config,
                   ConfigOf(model, model.scheduler_text(), request.scheduler_json));
  checked.options.learned_variance = config.variance_type == VarianceType::kLearned ||
                                     config.variance_type == VarianceType::kLearnedRange;
  ASSIGN_OR_RETURN(checked.scheduler, MakeScheduler(config));
  return checked.scheduler->SetTimesteps(request.num_inference_steps);
}

Status CheckLoop(const ServedModel& model, const LoopRequest& request, const LoopFacts& facts,
                 CheckedDenoise& checked) {
  constexpr double kLargest = 1e6;
  checked.options.guidance = {request.guidance_scale, request.guidance_rescale};
  checked.options.step = {request.eta, request.use_clipped_model_output};
  RETURN_IF_ERROR(CheckNumber("guidance_scale", request.guidance_scale, -kLargest, kLargest));
  RETURN_IF_ERROR(CheckNumber("guidance_rescale", request.guidance_rescale, 0, 1));
  if (request.eta) RETURN_IF_ERROR(CheckNumber("eta", *request.eta, 0, 1));
  RETURN_IF_ERROR(CheckLatents(model, request, facts.has_latents, checked));
  RETURN_IF_ERROR(CheckConditions(model, request, checked));
  return CheckNoise(request, facts, checked);
}

}  // namespace unetd
