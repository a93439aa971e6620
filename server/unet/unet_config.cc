#include "server/unet/unet_config.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "server/base/text.h"
#include "server/unet/block_types.h"
#include "server/unet/config_levels.h"
#include "server/unet/config_reader.h"

namespace unetd {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kMaxClasses = 1 << 24;
constexpr int64_t kMaxKernel = 31;
constexpr int64_t kMaxSampleSize = 1 << 16;
constexpr int64_t kMaxProjectionDim = 1 << 20;

void ReadSampleSize(ConfigReader& reader, UNetConfig& config) {
  constexpr Range kSide{1, kMaxSampleSize};
  if (reader.IsNull("sample_size")) return;
  const auto& value = *reader.Find("sample_size");
  if (value.is_array() && value.size() == 2) {
    config.sample_size = Size{reader.CountOf("sample_size[0]", value[0], kSide),
                              reader.CountOf("sample_size[1]", value[1], kSide)};
  } else if (value.is_array()) {
    reader.Fail("sample_size", "expected an integer or [height, width], got " + ShownJson(value));
  } else {
    const uint32_t side = reader.CountOf("sample_size", value, kSide);
    config.sample_size = Size{side, side};
  }
}

uint32_t ReadKernel(ConfigReader& reader, const char* key) {
  const uint32_t kernel = reader.Count(key, 3, {1, kMaxKernel});
  if (kernel % 2 == 0) {
    reader.Fail(
        key,
        Format(
            "expected an odd number, got {}: an even kernel makes the image smaller than its skips",
            kernel));
  }
  return kernel;
}

void ReadEnds(ConfigReader& reader, UNetConfig& config) {
  ReadSampleSize(reader, config);
  config.in_channels = reader.Count("in_channels", 4, kChannels);
  config.out_channels = reader.Count("out_channels", 4, kChannels);
  config.conv_in_kernel = ReadKernel(reader, "conv_in_kernel");
  config.conv_out_kernel = ReadKernel(reader, "conv_out_kernel");
  config.center_input_sample = reader.Bool("center_input_sample", false);
  config.activation = reader.Act("act_fn", "silu");
}

// 0 divides: the exponents of a sinusoid are i / (dim / 2 - freq_shift).
void CheckSinusoid(ConfigReader& reader, const UNetConfig& config, const char* key, uint32_t dim) {
  if (dim < 2) reader.Fail(key, Format("expected at least 2 for a sinusoid, got {}", dim));
  if (static_cast<float>(dim / 2) == config.freq_shift) {
    reader.Fail("freq_shift",
                Format("{} is half of the {} of {}: the frequencies would be divided by 0",
                       config.freq_shift, dim, key));
  }
}

void ReadTime(ConfigReader& reader, UNetConfig& config) {
  const uint32_t width = config.levels.front().channels;
  config.flip_sin_to_cos = reader.Bool("flip_sin_to_cos", true);
  config.freq_shift = static_cast<float>(reader.Number("freq_shift", 0));
  const std::string type = reader.Text("time_embedding_type", "positional");
  config.fourier = type == "fourier";
  if (!config.fourier && type != "positional") {
    reader.Fail("time_embedding_type", Quoted(type) + ": expected 'positional' or 'fourier'");
  }
  const uint32_t dim = reader.CountOrNone("time_embedding_dim", kChannels);
  config.time_embed_dim = dim != 0 ? dim : width * (config.fourier ? 2 : 4);
  config.time_input_dim = config.fourier ? config.time_embed_dim : width;
  if (config.fourier && config.time_embed_dim % 2 != 0) {
    reader.Fail("time_embedding_dim",
                Format("expected an even number for 'fourier', got {}", config.time_embed_dim));
  }
  if (!config.fourier) CheckSinusoid(reader, config, "block_out_channels[0]", width);
  config.timestep_post_activation = reader.ActOrNone("timestep_post_act");
  config.time_embedding_activation = reader.ActOrNone("time_embedding_act_fn");
  config.time_cond_dim = reader.CountOrNone("time_cond_proj_dim", kChannels);
}

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

void ReadAddition(ConfigReader& reader, UNetConfig& config) {
  constexpr std::string_view kNotBuilt[] = {"text", "text_image", "image", "image_hint"};
  config.addition_time_embed_dim = reader.CountOrNone("addition_time_embed_dim", kChannels);
  reader.Number("addition_embed_type_num_heads", 64);
  const std::string type = reader.TextOrNone("addition_embed_type");
  if (type.empty()) return;
  if (std::find(std::begin(kNotBuilt), std::end(kNotBuilt), type) != std::end(kNotBuilt)) {
    return reader.NotBuilt("addition_embed_type", type);
  }
  if (type != "text_time") {
    return reader.Fail("addition_embed_type",
                       Quoted(type) +
                           ": expected null, 'text', 'text_image', 'text_time', "
                           "'image' or 'image_hint'");
  }
  config.text_time = true;
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
  if (config.class_embeddings_concat) {
    reader.Fail("class_embeddings_concat",
                "true: diffusers cannot add the embedding of addition_embed_type "
                "'text_time' to a concatenated one");
  }
}

void ReadTextProjection(ConfigReader& reader, UNetConfig& config) {
  config.encoder_hid_dim = reader.CountOrNone("encoder_hid_dim", kChannels);
  const std::string type = reader.TextOrNone("encoder_hid_dim_type");
  if (!type.empty() && config.encoder_hid_dim == 0) {
    return reader.Fail("encoder_hid_dim_type",
                       Quoted(type) + " needs encoder_hid_dim, which is null");
  }
  if (type == "text_image_proj" || type == "image_proj" || type == "ip_image_proj") {
    return reader.NotBuilt("encoder_hid_dim_type", type);
  }
  if (!type.empty() && type != "text_proj") {
    return reader.Fail("encoder_hid_dim_type",
                       Quoted(type) +
                           ": expected null, 'text_proj', 'text_image_proj' or "
                           "'image_proj'");
  }
  const auto* width = reader.Find("cross_attention_dim");
  if (config.encoder_hid_dim != 0 && width != nullptr && width->is_array()) {
    reader.Fail("encoder_hid_dim", "'text_proj' needs cross_attention_dim to be one integer, got " +
                                       ShownJson(*width));
  }
}

// Keys of other blocks: read, so that they are not taken for unknown ones, and of no effect here.
void ReadKeysWithoutEffect(ConfigReader& reader) {
  reader.Find("dropout");
  reader.Bool("resnet_skip_time_act", false);
  reader.Number("resnet_out_scale_factor", 1);
  reader.TextOrNone("cross_attention_norm");
  reader.Bool("mid_block_only_cross_attention", false);
}

void ReadWholeRefusals(ConfigReader& reader, UNetConfig& config) {
  const auto* name = reader.Find("_class_name");
  if (name != nullptr && *name != "UNet2DConditionModel" && *name != "FlaxUNet2DConditionModel") {
    reader.Fail("_class_name", "expected 'UNet2DConditionModel', got " + ShownJson(*name));
  }
  if (!reader.IsNull("num_attention_heads")) {
    reader.Fail("num_attention_heads",
                ShownJson(*reader.Find("num_attention_heads")) +
                    ": diffusers refuses it because the name was mixed up; the number of heads is "
                    "attention_head_dim");
  }
  const std::string attention = reader.Text("attention_type", "default");
  if (attention == "gated" || attention == "gated-text-image")
    reader.NotBuilt("attention_type", attention);
  if (reader.Bool("dual_cross_attention", false)) reader.NotBuilt("dual_cross_attention", true);
  const std::string shift = reader.Text("resnet_time_scale_shift", "default");
  config.scale_shift = shift == "scale_shift";
  if (!config.scale_shift && shift != "default") {
    reader.Fail("resnet_time_scale_shift", Quoted(shift) +
                                               ": diffusers runs these blocks with 'default' or "
                                               "'scale_shift' only");
  }
}

StatusOr<UNetConfig> ReadConfig(const nlohmann::json& object, const std::string& origin) {
  ConfigReader reader(object, origin);
  UNetConfig config;
  ReadWholeRefusals(reader, config);
  if (!reader.status().ok()) return reader.status();
  ReadEnds(reader, config);
  ReadLevels(reader, config);
  if (!reader.status().ok()) return reader.status();
  ReadTime(reader, config);
  ReadClassEmbedding(reader, config);
  ReadAddition(reader, config);
  ReadTextProjection(reader, config);
  ReadKeysWithoutEffect(reader);
  if (!reader.status().ok()) return reader.status();
  config.unknown_keys = reader.Unknown();
  return config;
}

}  // namespace

StatusOr<UNetConfig> ParseUNetConfig(std::string_view json_text, const std::string& origin) {
  try {
    const nlohmann::json object = nlohmann::json::parse(json_text);
    if (!object.is_object())
      return InvalidArgument(origin + ": expected a JSON object, got " + ShownJson(object));
    return ReadConfig(object, origin);
  } catch (const nlohmann::json::parse_error& error) {
    return InvalidArgument(Format("{}: not JSON (at byte {})", origin, error.byte));
  } catch (const nlohmann::json::exception& error) {
    return InvalidArgument(Format("{}: {}", origin, Quoted(error.what())));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(origin + ": no memory to read it");
  }
}

StatusOr<UNetConfig> LoadUNetConfig(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const std::string name = path.string();
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return NotFound(Format(
        "{}: no such file; a model's path is a diffusers folder with config.json in it", name));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || !file.eof()) {
    return InvalidArgument(
        Format("{}: cannot be read, or is larger than {}", name, HumanBytes(kMaxConfigBytes)));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  return ParseUNetConfig(text, name);
}

}  // namespace unetd
