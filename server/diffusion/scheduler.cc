#include "server/diffusion/scheduler.h"

#include <cmath>

#include "server/base/text.h"
#include "server/diffusion/ddim.h"
#include "server/diffusion/ddpm.h"
#include "server/diffusion/dpm_solver_multistep.h"
#include "server/diffusion/euler_ancestral.h"
#include "server/diffusion/euler_discrete.h"
#include "server/diffusion/heun.h"
#include "server/diffusion/lcm.h"
#include "server/diffusion/noise_schedule.h"
#include "server/diffusion/pndm.h"
#include "server/diffusion/tcd.h"
#include "server/diffusion/unipc_multistep.h"

namespace unetd {
namespace {

struct Factory {
  std::string_view class_name;
  StatusOr<std::unique_ptr<Scheduler>> (*create)(const SchedulerConfig& config);
};

// One a row of SchedulerClasses().
constexpr Factory kFactories[] = {
    {"DDIMScheduler", DdimScheduler::Create},
    {"DDPMScheduler", DdpmScheduler::Create},
    {"PNDMScheduler", PndmScheduler::Create},
    {"LCMScheduler", LcmScheduler::Create},
    {"TCDScheduler", TcdScheduler::Create},
    {"EulerDiscreteScheduler", EulerDiscreteScheduler::Create},
    {"EulerAncestralDiscreteScheduler", EulerAncestralDiscreteScheduler::Create},
    {"HeunDiscreteScheduler", HeunDiscreteScheduler::Create},
    {"DPMSolverMultistepScheduler", DpmSolverMultistepScheduler::Create},
    {"UniPCMultistepScheduler", UniPcMultistepScheduler::Create},
};

}  // namespace

StatusOr<std::unique_ptr<Scheduler>> MakeScheduler(const SchedulerConfig& config) {
  for (const float alpha : AlphasCumprod(config)) {
    if (std::isfinite(alpha)) continue;
    return InvalidArgument(
        "scheduler config: rescale_betas_zero_snr: expected betas that take signal away over two "
        "timesteps or more");
  }
  for (const Factory& factory : kFactories) {
    if (factory.class_name == config.class_name) return factory.create(config);
  }
  return Unimplemented(Format("scheduler {} is not built", Quoted(config.class_name)));
}

Status Scheduler::CheckStep(int64_t step) const {
  if (HasStep(step)) return OkStatus();
  return InvalidArgument(
      Format("step {}: expected 0 to {}", step, static_cast<int64_t>(timesteps_.size()) - 1));
}

Status Scheduler::CheckTensors(int64_t step, const StepOptions& options, const StepTensors& tensors,
                               uint64_t outputs) const {
  RETURN_IF_ERROR(CheckStep(step));
  if (tensors.output_elements != outputs * tensors.row_elements) {
    return InvalidArgument(Format("model output: {} expects {} elements a row here, got {}", name(),
                                  outputs * tensors.row_elements, tensors.output_elements));
  }
  if (tensors.noise != nullptr || !NeedsNoise(step, options)) return OkStatus();
  return InvalidArgument(Format("step {}: {} needs noise here, got none", step, name()));
}

Status Scheduler::SetState(int64_t /*next_step*/, uint64_t /*elements*/, SchedulerState state) {
  if (state.tensors.empty() && state.counters.empty()) return OkStatus();
  return InvalidArgument(Format("state: expected none, since {} keeps none", name()));
}

}  // namespace unetd
