// The checks of a denoising request.
#include "server/base/text.h"
#include "server/serving/loop_checks.h"

namespace unetd {
namespace {

// Steps are calls of the UNet: of some schedulers more than num_inference_steps.
Status CheckSteps(const DenoiseRequest& request, CheckedDenoise& checked) {
  const auto steps = static_cast<int64_t>(checked.scheduler->timesteps().size());
  DenoiseOptions& options = checked.options;
  options.start_step = request.start_step;
  options.end_step = request.end_step.value_or(steps);
  if (options.end_step < 1 || options.end_step > steps) {
    return InvalidArgument(
        Format("end_step: expected 1 to {} ({}), got {}", steps,
               steps == request.num_inference_steps
                   ? "num_inference_steps"
                   : Format("steps that {} makes of num_inference_steps {}",
                            checked.scheduler->name(), request.num_inference_steps),
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

// Where the sample's shape and dtype come from: latents, image_latents or shape.
Status CheckStart(const DenoiseRequest& request, CheckedDenoise& checked) {
  const std::optional<TensorView>& given =
      request.latents ? request.latents : request.image_latents;
  if (!given) {
    checked.sample_shape = request.shape;
    if (!request.shape.empty()) return OkStatus();
    return InvalidArgument(
        "latents: expected latents, image_latents, or shape and seeds, got none");
  }
  if (!request.shape.empty() && request.shape != given->shape) {
    return InvalidArgument(Format("shape: expected nothing or the latents' {}, got {}",
                                  ShapeText(given->shape), ShapeText(request.shape)));
  }
  checked.dtype = given->dtype;
  checked.sample_shape = given->shape;
  return OkStatus();
}

}  // namespace

StatusOr<CheckedDenoise> CheckDenoise(const ServedModel& model, const DenoiseRequest& request) {
  CheckedDenoise checked;
  RETURN_IF_ERROR(CheckScheduler(model, request, checked));
  RETURN_IF_ERROR(CheckSteps(request, checked));
  RETURN_IF_ERROR(CheckStart(request, checked));
  LoopFacts facts;
  facts.has_latents = request.latents.has_value();
  facts.noise_shape = {checked.options.end_step - checked.options.start_step};
  facts.noise_shape.insert(facts.noise_shape.end(), checked.sample_shape.begin(),
                           checked.sample_shape.end());
  RETURN_IF_ERROR(CheckLoop(model, request, facts, checked));
  return checked;
}

}  // namespace unetd
