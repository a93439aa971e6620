// Defaults, keys and refusals against diffusers': tests/golden/schedulers has what it said.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "server/diffusion/scheduler.h"
#include "server/diffusion/scheduler_class.h"

namespace unetd {
namespace {

std::filesystem::path Folder() {
  return std::filesystem::path(UNETD_SOURCE_DIR) / "tests/golden/schedulers";
}

nlohmann::json ReadJson(const std::string& name) {
  std::ifstream file(Folder() / name);
  return nlohmann::json::parse(file);
}

// What diffusers raises for is refused, at the latest in the first step.
TEST(SchedulerConfigGoldens, WhatDiffusersRaisesForIsRefused) {
  const nlohmann::json cases = ReadJson("refused.json");
  ASSERT_FALSE(cases.empty());
  for (const auto& refused : cases) {
    const auto config = ParseSchedulerConfig(refused["scheduler_config"].dump());
    Status status = config.status();
    if (config.ok()) {
      auto made = MakeScheduler(*config);
      status = made.status();
      if (made.ok()) status = (*made)->SetTimesteps(refused["num_inference_steps"]);
      if (status.ok()) {
        float values[4] = {};
        const StepTensors tensors = {values,     values + 1, values + 2, values + 3,
                                     values + 3, 1,          1,          1};
        status = (*made)->Step(0, {}, tensors);
      }
    }
    EXPECT_FALSE(status.ok()) << refused["name"];
    EXPECT_TRUE(status.code() == Code::kInvalidArgument || status.code() == Code::kUnimplemented)
        << refused["name"] << ": " << status.message();
    EXPECT_FALSE(status.message().empty());
  }
}

// What is written where nothing is said is what is read where nothing is said.
TEST(SchedulerConfigGoldens, DefaultsAreDiffusers) {
  const nlohmann::json defaults = ReadJson("defaults.json");
  ASSERT_FALSE(defaults.empty());
  for (const auto& [name, text] : defaults.items()) {
    const auto said = ParseSchedulerConfig(text.get<std::string>());
    ASSERT_TRUE(said.ok()) << name << ": " << said.status().message();
    EXPECT_TRUE(said->unknown_keys.empty()) << name << ": " << said->unknown_keys[0];
    const auto unsaid = ParseSchedulerConfig(nlohmann::json{{"_class_name", name}}.dump());
    ASSERT_TRUE(unsaid.ok());
    EXPECT_TRUE(*said == *unsaid) << name;
  }
}

TEST(SchedulerConfigGoldens, EveryClassIsThereAndBuilt) {
  const nlohmann::json defaults = ReadJson("defaults.json");
  for (const SchedulerClass& row : SchedulerClasses()) {
    EXPECT_TRUE(defaults.contains(row.name)) << row.name;
    EXPECT_TRUE(MakeScheduler(row.Defaults()).ok()) << row.name;
  }
  EXPECT_EQ(defaults.size(), SchedulerClasses().size());
}

}  // namespace
}  // namespace unetd
