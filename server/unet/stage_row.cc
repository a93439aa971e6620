#include "server/unet/stage_row.h"

#include <cmath>

#include "server/tensor/convert.h"
#include "server/unet/unet_inputs.h"

namespace unetd {
namespace {

constexpr uint32_t kFrequencies = kBoxFeatures / kBoxNumbers / 2;

// As get_fourier_embeds_from_boundingbox: by frequency, then sines and cosines, then numbers.
void WriteFeatures(const float* box, float* features) {
  for (uint32_t i = 0; i < kFrequencies; ++i) {
    const float frequency = std::pow(100.0f, static_cast<float>(i) / kFrequencies);
    for (uint32_t j = 0; j < kBoxNumbers; ++j) {
      features[(2 * i) * kBoxNumbers + j] = std::sin(frequency * box[j]);
      features[(2 * i + 1) * kBoxNumbers + j] = std::cos(frequency * box[j]);
    }
  }
}

}  // namespace

Status StageRow(std::string_view name, const TensorView& row, DType dtype, void* dst) {
  if (name != wire::kBoxes) return Convert(row, dtype, dst);
  ASSIGN_OR_RETURN(const Tensor boxes, ConvertedTo(row, DType::kFloat32));
  const auto count = static_cast<int64_t>(boxes.elements() / kBoxNumbers);
  ASSIGN_OR_RETURN(Tensor features, Tensor::Allocate(DType::kFloat32, {count, kBoxFeatures}));
  for (int64_t i = 0; i < count; ++i) {
    WriteFeatures(boxes.as<float>() + i * kBoxNumbers, features.as<float>() + i * kBoxFeatures);
  }
  return Convert(features.View(), dtype, dst);
}

}  // namespace unetd
