#include "server/unet/config_conditions.h"

#include <algorithm>

#include "server/base/text.h"
#include "server/unet/config_levels.h"

namespace unetd {
namespace {

constexpr int64_t kMaxClasses = 1 << 24;
constexpr int64_t kMaxProjectionDim = 1 << 20;

void ReadClassEmbedding(ConfigReader& reader, UNetConfig& config) {
  struct Named {
    std::string_view name;
    ClassEmbedding kind;
  };
  constexpr Named kKinds[] = {{"timestep", ClassEmbedding::kTimestep},
                              {"identity", ClassEmbedding::kIdentity},
                              {"projection", ClassEmbedding::kProjection},
                              {"simple_projection", ClassEmbedding::kSimpleProjection}};
  config.num_class_embeds =
      reader.IsNull("num_class_embeds") ? 0 : reader.Count("num_class_embeds", 0, {1, kMaxClasses});
  config.projection_input_dim =
      reader.CountOrNone("projection_class_embeddings_input_dim", {1, kMaxProjectionDim});
  config.class_embeddings_concat = reader.Bool("class_embeddings_concat", false);
  const std::string type = reader.TextOrNone("class_embed_type");
  const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                 [&](const Named& n) { return n.name == type; });
  if (kind != std::end(kKinds)) {
    config.class_embedding = kind->kind;
  } else if (!type.empty()) {
    reader.Fail("class_embed_type", Quoted(type) +
                                        ": expected null, 'timestep', 'identity', 'projection' or "
                                        "'simple_projection'");
  } else if (config.num_class_embeds != 0) {
    config.class_embedding = ClassEmbedding::kLookup;
  }
  const bool projects = config.class_embedding == ClassEmbedding::kProjection ||
                        config.class_embedding == ClassEmbedding::kSimpleProjection;
  if (projects && config.projection_input_dim == 0) {
    reader.Fail("class_embed_type",
                Quoted(type) + " needs projection_class_embeddings_input_dim, which is null");
  }
  if (config.class_embeddings_concat && config.class_embedding == ClassEmbedding::kNone) {
    reader.Fail("class_embeddings_concat",
                "true, but there is no class embedding: set class_embed_type or "
                "num_class_embeds");
  }
}

void ReadTextTime(ConfigReader& reader, const UNetConfig& config) {
  if (config.addition_time_embed_dim == 0) {
    return reader.Fail("addition_time_embed_dim", "'text_time' needs it, and it is null");
  }
  if (config.projection_input_dim == 0) {
    return reader.Fail("projection_class_embeddings_input_dim",
                       "'text_time' needs it, and it is null");
  }
  if (config.projection_input_dim <= config.addition_time_embed_dim) {
    return reader.Fail(
        "projection_class_embeddings_input_dim",
        Format("{} leaves no room for text_embeds beside one time_id of addition_time_embed_dim {}",
               config.projection_input_dim, config.addition_time_embed_dim));
  }
  CheckSinusoid(reader, config, "addition_time_embed_dim", config.addition_time_embed_dim);
}

// The text's projection must have been read.
void ReadAddition(ConfigReader& reader, UNetConfig& config) {
  constexpr char kKey[] = "addition_embed_type", kHeads[] = "addition_embed_type_num_heads";
  struct Named {
    std::string_view name;
    AddEmbedding kind;
  };
  constexpr Named kKinds[] = {{"text", AddEmbedding::kText},
                              {"text_image", AddEmbedding::kTextImage},
                              {"text_time", AddEmbedding::kTextTime},
                              {"image", AddEmbedding::kImage},
                              {"image_hint", AddEmbedding::kImageHint}};
  config.addition_time_embed_dim = reader.CountOrNone("addition_time_embed_dim", kChannels);
  reader.Find(kHeads);
  const std::string type = reader.TextOrNone(kKey);
  if (type.empty()) return;
  const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                 [&](const Named& n) { return n.name == type; });
  if (kind == std::end(kKinds)) {
    return reader.Fail(kKey, Quoted(type) +
                                 ": expected null, 'text', 'text_image', 'text_time', "
                                 "'image' or 'image_hint'");
  }
  config.add_embedding = kind->kind;
  if (config.class_embeddings_concat) {
    return reader.Fail("class_embeddings_concat",
                       Format("true: diffusers cannot add the embedding of addition_embed_type "
                              "'{}' to a concatenated one",
                              type));
  }
  const bool of_image =
      kind->kind == AddEmbedding::kImage || kind->kind == AddEmbedding::kImageHint;
  if (of_image && config.encoder_hid_dim == 0) {
    return reader.Fail("encoder_hid_dim", Quoted(type) + " needs it, and it is null");
  }
  const bool of_text = kind->kind == AddEmbedding::kText && config.encoder_hid_dim == 0;
  if ((of_text || kind->kind == AddEmbedding::kTextImage) && config.cross_dim == 0) {
    return reader.Fail(kKey, Quoted(type) + " needs cross_attention_dim to be one integer, got " +
                                 ShownJson(*reader.Find("cross_attention_dim")));
  }
  if (kind->kind == AddEmbedding::kTextTime) return ReadTextTime(reader, config);
  if (kind->kind == AddEmbedding::kImageHint && config.in_channels <= UNetConfig::kHintChannels) {
    return reader.Fail("in_channels", Format("{} leaves no room for a sample beside the {} of the "
                                             "hint of addition_embed_type 'image_hint'",
                                             config.in_channels, UNetConfig::kHintChannels));
  }
  if (kind->kind != AddEmbedding::kText) return;
  config.add_heads = reader.Count(kHeads, 64, kChannels);
  const uint32_t width = config.encoder_hid_dim != 0 ? config.encoder_hid_dim : config.cross_dim;
  if (width % config.add_heads != 0) {
    reader.Fail(kHeads,
                Format("{} does not divide the {} channels of the text", config.add_heads, width));
  }
}

void ReadTextProjection(ConfigReader& reader, UNetConfig& config) {
  constexpr char kKey[] = "encoder_hid_dim_type";
  config.encoder_hid_dim = reader.CountOrNone("encoder_hid_dim", kChannels);
  const std::string type = reader.TextOrNone(kKey);
  if (!type.empty() && config.encoder_hid_dim == 0) {
    return reader.Fail(kKey, Quoted(type) + " needs encoder_hid_dim, which is null");
  }
  if (config.encoder_hid_dim == 0) return;
  if (type.empty() || type == "text_proj") {
    config.text_projection = TextProjection::kText;
  } else if (type == "text_image_proj") {
    config.text_projection = TextProjection::kTextImage;
  } else if (type == "image_proj") {
    config.text_projection = TextProjection::kImage;
  } else {
    return reader.Fail(kKey, Quoted(type) +
                                 ": expected null, 'text_proj', 'text_image_proj' or "
                                 "'image_proj'");
  }
  if (config.cross_dim == 0) {
    reader.Fail(
        "encoder_hid_dim",
        Format("'{}' needs cross_attention_dim to be one integer, got {}",
               type.empty() ? "text_proj" : type, ShownJson(*reader.Find("cross_attention_dim"))));
  }
}

// One image_embeds serves the addition embedding and the text's projection.
void CheckImageWidths(ConfigReader& reader, const UNetConfig& config) {
  if (config.text_projection == TextProjection::kNone || config.cross_dim == config.encoder_hid_dim)
    return;
  const bool add_wide = config.add_embedding == AddEmbedding::kImage ||
                        config.add_embedding == AddEmbedding::kImageHint;
  const bool mixed = (config.text_projection == TextProjection::kTextImage && add_wide) ||
                     (config.text_projection == TextProjection::kImage &&
                      config.add_embedding == AddEmbedding::kTextImage);
  if (!mixed) return;
  reader.Fail(
      "addition_embed_type",
      Format("it and encoder_hid_dim_type take one image_embeds, and need it {} and {} wide",
             add_wide ? config.encoder_hid_dim : config.cross_dim,
             add_wide ? config.cross_dim : config.encoder_hid_dim));
}

}  // namespace

// 0 divides: the exponents of a sinusoid are i / (dim / 2 - freq_shift).
void CheckSinusoid(ConfigReader& reader, const UNetConfig& config, const char* key, uint32_t dim) {
  if (dim < 2) reader.Fail(key, Format("expected at least 2 for a sinusoid, got {}", dim));
  if (static_cast<float>(dim / 2) == config.freq_shift) {
    reader.Fail("freq_shift",
                Format("{} is half of the {} of {}: the frequencies would be divided by 0",
                       config.freq_shift, dim, key));
  }
}

void ReadConditions(ConfigReader& reader, UNetConfig& config) {
  ReadClassEmbedding(reader, config);
  ReadTextProjection(reader, config);
  ReadAddition(reader, config);
  if (reader.status().ok()) CheckImageWidths(reader, config);
}

}  // namespace unetd
