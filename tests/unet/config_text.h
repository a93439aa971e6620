// A small valid config.json, to be changed by tests.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "server/unet/unet_config.h"

namespace unetd::test {

// Two levels, attention at the first and in the middle.
inline nlohmann::json SmallConfig() {
  return nlohmann::json::parse(R"({
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "cross_attention_dim": 10,
    "attention_head_dim": 2,
    "norm_num_groups": 4
  })");
}

inline nlohmann::json With(nlohmann::json config, const nlohmann::json& changes) {
  config.update(changes);
  return config;
}

inline StatusOr<UNetConfig> Parsed(const nlohmann::json& config) {
  return ParseUNetConfig(config.dump());
}

// The refusal's message; "" if the config is accepted.
inline std::string Refusal(const nlohmann::json& config) {
  const auto parsed = Parsed(config);
  return parsed.ok() ? "" : parsed.status().message();
}

}  // namespace unetd::test
