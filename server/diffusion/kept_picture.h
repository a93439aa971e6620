// Inpainting with a UNet that takes no mask: what is not to be painted is put back after each step.
#pragma once

#include <cstdint>
#include <vector>

#include "server/diffusion/scheduler.h"

namespace unetd {

// Row-major float32.
struct KeptPicture {
  std::vector<float> image;  // [B,C,H,W]: clean latents
  std::vector<float> noise;  // [B,C,H,W]: what the loop started from
  std::vector<float> mask;   // [B,1,H,W]: 1 where to paint, 0 where to keep
};

// sample = (1 - mask) * kept + mask * sample, where kept is the image as noisy as the loop has it
// before `next_step`, and clean after the last. `batch`: B; `sample`: [B,C,H,W]; `kept` is scratch,
// of the same size once it was needed.
void PutBack(const KeptPicture& picture, const Scheduler& scheduler, int64_t next_step,
             uint64_t batch, std::vector<float>& sample, std::vector<float>& kept);

}  // namespace unetd
