#include "server/diffusion/kept_picture.h"

namespace unetd {

void PutBack(const KeptPicture& picture, const Scheduler& scheduler, int64_t next_step,
             uint64_t batch, std::vector<float>& sample, std::vector<float>& kept) {
  const float* image = picture.image.data();
  if (next_step < static_cast<int64_t>(scheduler.timesteps().size())) {
    kept.resize(sample.size());
    scheduler.AddNoise(next_step, image, picture.noise.data(), sample.size(), kept.data());
    image = kept.data();
  }
  const uint64_t pixels = picture.mask.size() / batch;
  const uint64_t row_elements = sample.size() / batch;
  for (uint64_t i = 0; i < sample.size(); ++i) {
    const float paint = picture.mask[i / row_elements * pixels + i % pixels];
    sample[i] = (1.0f - paint) * image[i] + paint * sample[i];
  }
}

}  // namespace unetd
