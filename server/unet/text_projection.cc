// encoder_hid_dim_type: what becomes of the text, or of the image in its place.
#include "server/unet/emission.h"

namespace unetd {
namespace {

constexpr char kModule[] = "encoder_hid_proj";

// The image as so many tokens.
Value ImageTokens(Emission& e, uint32_t tokens) {
  e.builder.SetLayer(kModule);
  return SplitTokens(
      e.builder.Linear(ImageEmbeds(e), LinearOf(std::string(kModule) + ".image_embeds",
                                                tokens * e.config.cross_dim)),
      tokens);
}

}  // namespace

Value ImageEmbeds(Emission& e) {
  if (!e.image_embeds.present()) {
    e.image_embeds = e.builder.TokensInput(wire::kImageEmbeds, 1, ImageWidth(e.config),
                                           e.builder.context().dtype);
  }
  return e.image_embeds;
}

Value EmitTextProjection(Emission& e) {
  const std::string module = kModule;
  const uint32_t width = e.config.cross_dim;
  switch (e.config.text_projection) {
    case TextProjection::kNone:
      break;
    case TextProjection::kText:
      e.builder.SetLayer(module);
      return e.builder.Linear(e.raw_text, LinearOf(module, width));
    case TextProjection::kTextImage: {
      const Value image = ImageTokens(e, kImageTokensBesideText);
      const Value text = e.builder.Linear(e.raw_text, LinearOf(module + ".text_proj", width));
      return e.builder.ConcatTokens(image, text);
    }
    case TextProjection::kImage:
      return EmitLayerNorm(e, module + ".norm", ImageTokens(e, kImageTokens));
  }
  return e.raw_text;
}

}  // namespace unetd
