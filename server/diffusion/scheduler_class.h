// The scheduler classes: which keys each has, where its defaults differ, which values it takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "server/base/status.h"
#include "server/diffusion/scheduler_config.h"

namespace unetd {

// Keys that come together. The keys of SchedulerConfig's first paragraph belong to every class.
enum KeyGroup : uint32_t {
  kZeroSnrKey = 1 << 0,          // rescale_betas_zero_snr
  kAlphaToOneKey = 1 << 1,       // set_alpha_to_one
  kClipKeys = 1 << 2,            // clip_sample, clip_sample_range
  kThresholdKeys = 1 << 3,       // thresholding, dynamic_thresholding_ratio, sample_max_value
  kVarianceKey = 1 << 4,         // variance_type
  kDistilledKeys = 1 << 5,       // original_inference_steps, timestep_scaling
  kRungeKuttaKey = 1 << 6,       // skip_prk_steps
  kSigmaShapeKeys = 1 << 7,      // use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas
  kSigmaRangeKeys = 1 << 8,      // sigma_min, sigma_max
  kFinalSigmasKey = 1 << 9,      // final_sigmas_type
  kInterpolationKeys = 1 << 10,  // interpolation_type, timestep_type
  kSolverKeys = 1 << 11,         // solver_order ... time_shift_type
  kDpmSolverKeys = 1 << 12,      // algorithm_type ... lambda_min_clipped
  kUniPcKeys = 1 << 13,          // predict_x0, disable_corrector, solver_p, shift_terminal
};

template <typename... Values>
constexpr uint32_t SetOf(Values... values) {
  return ((1u << static_cast<uint32_t>(values)) | ...);
}

struct SchedulerClass {
  std::string_view name;
  uint32_t keys;                     // of KeyGroup
  uint32_t beta_schedules;           // SetOf(BetaSchedule...)
  uint32_t prediction_types;         // SetOf(PredictionType...)
  void (*differ)(SchedulerConfig&);  // sets what differs from SchedulerConfig's own defaults

  bool has(KeyGroup group) const { return (keys & group) != 0; }
  SchedulerConfig Defaults() const;
};

std::span<const SchedulerClass> SchedulerClasses();

// By its diffusers name, with or without the "Flax" before it that older files have. UNIMPLEMENTED
// names the classes that are built.
StatusOr<const SchedulerClass*> FindSchedulerClass(std::string_view name);

}  // namespace unetd
