// Classifier-free guidance, as diffusers' pipelines combine it.
#pragma once

#include <cstdint>

namespace unetd {

struct GuidanceOptions {
  double scale = 1;    // on above 1
  double rescale = 0;  // diffusers' guidance_rescale; 0: off
  bool on() const { return scale > 1; }
};

// One row of `elements`: out = uncond + scale * (cond - uncond), then, if options.rescale > 0,
// brought towards the standard deviation of `cond`. `out` may be either input.
void Guide(const float* uncond, const float* cond, uint64_t elements,
           const GuidanceOptions& options, float* out);

}  // namespace unetd
