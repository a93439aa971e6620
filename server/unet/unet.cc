#include "server/unet/unet.h"

#include <algorithm>

#include "server/base/text.h"
#include "server/unet/emission.h"

namespace unetd {
namespace {

constexpr uint32_t kLikelyTokens = 77;        // CLIP's context
constexpr uint32_t kLikelyPooledText = 1280;  // of SDXL's second text encoder
constexpr uint32_t kLikelyTimeIds = 6;
constexpr uint32_t kLikelyBoxes = 30;  // the pipeline's max_objs
constexpr uint32_t kDeepestSide = 8;

}  // namespace

StatusOr<std::shared_ptr<const ModelUNet>> ModelUNet::Load(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(UNetConfig config, LoadUNetConfig(folder));
  return std::shared_ptr<const ModelUNet>(std::make_shared<ModelUNet>(std::move(config)));
}

ModelUNet::ModelUNet(UNetConfig config)
    : config_(std::move(config)),
      layout_(MakeLayout(config_)),
      layers_(ListLayers(layout_)),
      inputs_(DeclareInputs(config_, layout_)) {}

StatusOr<UNetShape> ModelUNet::Resolve(const std::string& model,
                                       const std::vector<NamedShape>& sent) const {
  return ResolveInputs(config_, layout_, model, sent);
}

UNetShape ModelUNet::LikelyShape(Size size) const {
  UNetShape shape;
  shape.size = size;
  shape.timestep_cond = config_.time_cond_dim != 0;
  if (ReadsText(config_, layout_)) shape.text_tokens = kLikelyTokens;
  // So that the tensors of GLIGEN's layers are looked at, too.
  const auto takes_boxes = [](const InputDecl& input) { return input.name == wire::kBoxes; };
  if (std::any_of(inputs_.begin(), inputs_.end(), takes_boxes)) shape.boxes = kLikelyBoxes;
  if (config_.add_embedding == AddEmbedding::kImageHint) shape.hint = {8 * size.h, 8 * size.w};
  if (config_.add_embedding != AddEmbedding::kTextTime) return shape;
  const uint32_t all = config_.projection_input_dim, width = config_.addition_time_embed_dim;
  if (all > kLikelyPooledText && (all - kLikelyPooledText) % width == 0) {
    shape.time_ids = (all - kLikelyPooledText) / width;
  } else {
    shape.time_ids = all > kLikelyTimeIds * uint64_t{width} ? kLikelyTimeIds : 1;
  }
  return shape;
}

Size ModelUNet::DefaultSize() const {
  const uint32_t side = kDeepestSide << (config_.levels.size() - 1);
  return config_.sample_size.value_or(Size{side, side});
}

void ModelUNet::Emit(PlanBuilder& builder, const UNetShape& shape,
                     const VariantBindings& bindings) const {
  EmitUNet(builder, config_, layout_, shape, bindings);
}

}  // namespace unetd
