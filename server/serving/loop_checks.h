// The checks that a whole denoising loop and one step of one have in common. Errors name the field.
#pragma once

#include "server/serving/request_checks.h"

namespace unetd {

// The scheduler of a request, with its timesteps, into `checked`; and what it reads of the UNet.
Status CheckScheduler(const ServedModel& model, const LoopRequest& request,
                      CheckedDenoise& checked);

// Everything else, once `checked` has its scheduler, steps, sample_shape (whatever it is) and
// dtype. `has_latents`: the loop does not make its sample; `noise_shape`: what `noise` is to have.
struct LoopFacts {
  bool has_latents = false;
  Shape noise_shape;
};
Status CheckLoop(const ServedModel& model, const LoopRequest& request, const LoopFacts& facts,
                 CheckedDenoise& checked);

// The channels of the latents, and the tensors that are pictures: options.channels, from_image and
// keeps_picture.
Status CheckLatents(const ServedModel& model, const LoopRequest& request, bool has_latents,
                    CheckedDenoise& checked);

}  // namespace unetd
