#include "server/unet/unet_config.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "server/base/text.h"
#include "server/unet/config_checks.h"
#include "server/unet/config_conditions.h"
#include "server/unet/config_levels.h"
#include "server/unet/config_reader.h"

namespace unetd {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kMaxKernel = 31;
constexpr int64_t kMaxSampleSize = 1 << 16;

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

void ReadWholeRefusals(ConfigReader& reader) {
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
}

StatusOr<UNetConfig> ReadConfig(const nlohmann::json& object, const std::string& origin) {
  ConfigReader reader(object, origin);
  UNetConfig config;
  ReadWholeRefusals(reader);
  if (!reader.status().ok()) return reader.status();
  ReadEnds(reader, config);
  ReadLevels(reader, config);
  if (!reader.status().ok()) return reader.status();
  ReadTime(reader, config);
  ReadConditions(reader, config);
  reader.Find("dropout");  // of no effect here
  if (!reader.status().ok()) return reader.status();
  CheckModules(reader, config);
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
    ASSIGN_OR_RETURN(UNetConfig config, ReadConfig(object, origin));
    config.json = json_text;
    return config;
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
