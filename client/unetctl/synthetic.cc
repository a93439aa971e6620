#include "client/unetctl/synthetic.h"

#include <random>
#include <string_view>

#include "client/unetctl/tensor_file.h"
#include "server/base/text.h"
#include "server/tensor/convert.h"

namespace unetd::unetctl {
namespace {

constexpr float kTimestep = 500;
constexpr float kPixels = 512;     // what SDXL's time_ids count
constexpr int64_t kHintScale = 8;  // a hint is a picture: eight times the latents
constexpr uint32_t kSeed = 20221;  // any; the same for everyone

StatusOr<DType> DTypeOf(const inference::ModelInput& input) {
  const std::string& type = inference::DataType_Name(input.data_type());  // TYPE_FP32
  constexpr std::string_view kPrefix = "TYPE_";
  const auto dtype =
      type.size() > kPrefix.size() ? DTypeFromWireName(type.substr(kPrefix.size())) : std::nullopt;
  if (dtype) return *dtype;
  return InvalidArgument(
      Format("the server says that input {} has datatype {}", Quoted(input.name()), Quoted(type)));
}

Shape ShapeOf(const inference::ModelInput& input, const SyntheticSizes& sizes) {
  Shape shape = {sizes.rows};
  shape.insert(shape.end(), input.dims().begin(), input.dims().end());
  const int64_t scale = input.name() == "hint" ? kHintScale : 1;
  for (size_t i = 1; i < shape.size(); ++i) {
    if (shape[i] >= 0) continue;
    if (shape.size() == 4 && i >= 2) {
      shape[i] = (i == 2 ? sizes.height : sizes.width) * scale;
    } else {
      shape[i] = sizes.tokens;
    }
  }
  return shape;
}

void Fill(std::string_view name, Tensor* tensor) {
  const std::span<float> values(tensor->as<float>(), tensor->elements());
  std::mt19937 engine(kSeed);
  std::normal_distribution<float> noise;
  const bool mask = name.find("mask") != std::string_view::npos;
  for (float& value : values) {
    if (name == "timestep") {
      value = kTimestep;
    } else if (name == "class_labels") {
      value = 0;
    } else if (name == "time_ids") {
      value = kPixels;
    } else {
      value = mask ? 1 : noise(engine);
    }
  }
}

}  // namespace

StatusOr<TensorMap> SyntheticInputs(const inference::ModelConfig& model,
                                    const SyntheticSizes& sizes) {
  TensorMap tensors;
  for (const inference::ModelInput& input : model.input()) {
    if (input.optional()) continue;
    ASSIGN_OR_RETURN(const DType dtype, DTypeOf(input));
    ASSIGN_OR_RETURN(Tensor values, Tensor::Allocate(DType::kFloat32, ShapeOf(input, sizes)));
    Fill(input.name(), &values);
    ASSIGN_OR_RETURN(const Tensor converted, ConvertedTo(values.View(), dtype));
    tensors.emplace(input.name(), ToWire(input.name(), converted.View()));
  }
  return tensors;
}

}  // namespace unetd::unetctl
