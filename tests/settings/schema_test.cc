// config/unetd.schema.json, the shipped configs and the parser must agree.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "server/settings/parser.h"
#include "tests/settings/config_files.h"

namespace unetd {
namespace {

using valijson::adapters::NlohmannJsonAdapter;

const std::filesystem::path kConfig = std::filesystem::path(UNETD_SOURCE_DIR) / "config";

std::string TextOf(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

class SchemaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto json = nlohmann::json::parse(TextOf(kConfig / "unetd.schema.json"));
    schema_ = new valijson::Schema;
    valijson::SchemaParser(valijson::SchemaParser::kDraft7)
        .populateSchema(NlohmannJsonAdapter(json), *schema_);
  }
  static void TearDownTestSuite() { delete schema_; }

  // "" if the schema accepts it, else why not.
  static std::string Refusal(const std::string& text) {
    const auto json = nlohmann::json::parse(text);
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    valijson::ValidationResults results;
    if (validator.validate(*schema_, NlohmannJsonAdapter(json), &results)) return "";
    valijson::ValidationResults::Error error;
    std::string why = "refused";
    while (results.popError(error)) why += "; " + error.description;
    return why;
  }

  static valijson::Schema* schema_;
};
valijson::Schema* SchemaTest::schema_ = nullptr;

TEST_F(SchemaTest, ShippedConfigsAreGood) {
  int configs = 0;
  for (const auto& folder : {kConfig, kConfig / "examples"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() != ".json" || entry.path().stem().extension() == ".schema") {
        continue;
      }
      ++configs;
      EXPECT_EQ(Refusal(TextOf(entry.path())), "") << entry.path();
      const auto settings = LoadSettings(entry.path());
      EXPECT_TRUE(settings.ok()) << settings.status().message();
    }
  }
  EXPECT_GE(configs, 3);
}

TEST_F(SchemaTest, ShippedConfigServesDigits) {
  const auto settings = LoadSettings(kConfig / "unetd.json");
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  const ModelSettings& model = settings->models.at(0);
  EXPECT_EQ(model.name, "digits");
  EXPECT_EQ(model.path, (kConfig / "digits" / "unet").lexically_normal());
  ASSERT_EQ(model.variants.size(), 3u);
  EXPECT_EQ(model.variants[0].name, "baseline");
  EXPECT_EQ(model.variants[1].name, "sliced");
  EXPECT_EQ(model.variants[0].weight, model.variants[1].weight);
  EXPECT_EQ(model.variants[1].processors.at(0).processor, "SlicedAttnProcessor");
  EXPECT_EQ(model.variants[2].name, "slanted");
  EXPECT_EQ(model.variants[2].weight, 0);
  EXPECT_TRUE(std::filesystem::exists(model.variants[2].processors.at(0).weights));
}

TEST_F(SchemaTest, AgreesOnGoodConfigs) {
  for (const std::string& json : test::GoodConfigs()) {
    EXPECT_EQ(Refusal(json), "") << json;
    const auto settings = ParseSettings(json, "/");
    EXPECT_TRUE(settings.ok()) << json << "\n" << settings.status().message();
  }
}

TEST_F(SchemaTest, AgreesOnBadConfigs) {
  for (const auto& [json, message] : test::BadConfigs()) {
    EXPECT_NE(Refusal(json), "") << json;
    const auto settings = ParseSettings(json, "/");
    ASSERT_FALSE(settings.ok()) << json;
    EXPECT_EQ(settings.status().code(), Code::kInvalidArgument);
    EXPECT_TRUE(settings.status().message().starts_with(message))
        << json << "\nexpected: " << message << "\ngot:      " << settings.status().message();
  }
}

// The schema tells people the defaults; they must be the parser's.
TEST_F(SchemaTest, StatesTheParsersDefaults) {
  const auto schema = nlohmann::json::parse(TextOf(kConfig / "unetd.schema.json"));
  const auto settings = ParseSettings(test::WithModel(""), "/");
  ASSERT_TRUE(settings.ok());
  const auto& server = schema["definitions"]["server"]["properties"];
  EXPECT_EQ(server["address"]["default"], settings->server.address);
  EXPECT_EQ(server["http_address"]["default"], settings->server.http_address);
  EXPECT_EQ(server["log_format"]["default"], "text");
  EXPECT_EQ(server["log_level"]["default"], "info");
  const auto& limits = server["limits"]["properties"];
  EXPECT_EQ(limits["message_mib"]["default"], settings->server.limits.message_mib);
  EXPECT_EQ(limits["queue"]["default"], settings->server.limits.queue);
  EXPECT_EQ(limits["drain_s"]["default"], settings->server.limits.drain_s);
  const auto& model = schema["definitions"]["model"]["properties"];
  EXPECT_EQ(model["backend"]["default"], settings->models[0].backend);
  EXPECT_EQ(model["dtype"]["default"], TorchName(settings->models[0].dtype));
  EXPECT_EQ(model["conv"]["default"], ConvName(settings->models[0].conv));
  EXPECT_EQ(model["max_batch"]["default"], settings->models[0].max_batch);
  EXPECT_EQ(schema["definitions"]["variant"]["properties"]["weight"]["default"],
            settings->models[0].variants[0].weight);
}

}  // namespace
}  // namespace unetd
