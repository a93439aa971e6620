#include "server/diffusion/scheduler_class.h"

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr uint32_t kUsualBetas =
    SetOf(BetaSchedule::kLinear, BetaSchedule::kScaledLinear, BetaSchedule::kSquaredCosCapV2);
constexpr uint32_t kEpsilonOrV = SetOf(PredictionType::kEpsilon, PredictionType::kVPrediction);
constexpr uint32_t kUsualPredictions = kEpsilonOrV | SetOf(PredictionType::kSample);
constexpr uint32_t kFlowToo = kUsualPredictions | SetOf(PredictionType::kFlowPrediction);

void LikeDdim(SchedulerConfig& /*config*/) {}
void SigmaSpacing(SchedulerConfig& config) { config.timestep_spacing = TimestepSpacing::kLinspace; }
void LikeLatentConsistency(SchedulerConfig& config) {
  config.beta_start = 0.00085;
  config.beta_end = 0.012;
  config.beta_schedule = BetaSchedule::kScaledLinear;
  config.clip_sample = false;
}

constexpr uint32_t kDistilled =
    kZeroSnrKey | kAlphaToOneKey | kClipKeys | kThresholdKeys | kDistilledKeys;
constexpr uint32_t kMultistep =
    kZeroSnrKey | kThresholdKeys | kSigmaShapeKeys | kFinalSigmasKey | kSolverKeys;

constexpr SchedulerClass kClasses[] = {
    {"DDIMScheduler", kZeroSnrKey | kAlphaToOneKey | kClipKeys | kThresholdKeys, kUsualBetas,
     kUsualPredictions, LikeDdim},
    {"DDPMScheduler", kZeroSnrKey | kClipKeys | kThresholdKeys | kVarianceKey,
     kUsualBetas | SetOf(BetaSchedule::kSigmoid, BetaSchedule::kLaplace), kUsualPredictions,
     LikeDdim},
    {"PNDMScheduler", kAlphaToOneKey | kRungeKuttaKey, kUsualBetas, kEpsilonOrV,
     [](SchedulerConfig& config) { config.set_alpha_to_one = false; }},
    {"LCMScheduler", kDistilled, kUsualBetas, kUsualPredictions, LikeLatentConsistency},
    {"TCDScheduler", kDistilled, kUsualBetas, kUsualPredictions, LikeLatentConsistency},
    {"EulerDiscreteScheduler",
     kZeroSnrKey | kSigmaShapeKeys | kSigmaRangeKeys | kFinalSigmasKey | kInterpolationKeys,
     kUsualBetas, kUsualPredictions, SigmaSpacing},
    {"EulerAncestralDiscreteScheduler", kZeroSnrKey, kUsualBetas, kEpsilonOrV, SigmaSpacing},
    {"HeunDiscreteScheduler", kClipKeys | kSigmaShapeKeys, kUsualBetas | SetOf(BetaSchedule::kExp),
     kUsualPredictions,
     [](SchedulerConfig& config) {
       SigmaSpacing(config);
       config.beta_start = 0.00085;
       config.beta_end = 0.012;
       config.clip_sample = false;
     }},
    {"DPMSolverMultistepScheduler", kMultistep | kDpmSolverKeys | kVarianceKey, kUsualBetas,
     kFlowToo,
     [](SchedulerConfig& config) {
       SigmaSpacing(config);
       config.variance_type = VarianceType::kNone;
     }},
    {"UniPCMultistepScheduler", kMultistep | kUniPcKeys | kSigmaRangeKeys, kUsualBetas, kFlowToo,
     [](SchedulerConfig& config) {
       SigmaSpacing(config);
       config.solver_type = SolverType::kBh2;
     }},
};

}  // namespace

SchedulerConfig SchedulerClass::Defaults() const {
  SchedulerConfig config;
  config.class_name = name;
  // A key that the class lacks does nothing.
  config.clip_sample = has(kClipKeys);
  differ(config);
  return config;
}

std::span<const SchedulerClass> SchedulerClasses() { return kClasses; }

StatusOr<const SchedulerClass*> FindSchedulerClass(std::string_view name) {
  constexpr std::string_view kFlax = "Flax";
  const std::string_view plain = name.starts_with(kFlax) ? name.substr(kFlax.size()) : name;
  std::string built;
  for (const SchedulerClass& row : kClasses) {
    if (row.name == plain) return &row;
    built += Format("{}{}", built.empty() ? "" : ", ", row.name);
  }
  return Unimplemented(Format("scheduler {} is not built; built: {}", Quoted(name), built));
}

}  // namespace unetd
