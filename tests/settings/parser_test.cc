#include "server/settings/parser.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "server/base/cpu.h"
#include "tests/settings/config_files.h"

namespace unetd {
namespace {

using test::WithBackends;
using test::WithModel;
using test::WithRule;
using test::WithServer;
using test::WithVariant;

Settings Parse(const std::string& json) {
  auto settings = ParseSettings(json, "/etc/unetd");
  EXPECT_TRUE(settings.ok()) << json << "\n" << settings.status().message();
  return settings.ok() ? *settings : Settings{};
}

std::string RefusalOf(const std::string& json) {
  const auto settings = ParseSettings(json, "/etc/unetd");
  EXPECT_FALSE(settings.ok()) << json;
  EXPECT_EQ(settings.status().code(), Code::kInvalidArgument);
  return settings.status().message();
}

TEST(ParseSettings, UnsaidIsAsTheDesignSays) {
  const Settings settings = Parse(WithModel(""));
  EXPECT_EQ(settings.server.address, "127.0.0.1:8001");
  EXPECT_EQ(settings.server.http_address, "127.0.0.1:8002");
  EXPECT_EQ(settings.server.log_format, LogFormat::kText);
  EXPECT_EQ(settings.server.log_level, LogLevel::kInfo);
  EXPECT_EQ(settings.server.limits.message_mib, 256);
  EXPECT_EQ(settings.server.limits.queue, 64);
  EXPECT_EQ(settings.server.limits.drain_s, 30);
  const double three_quarters = 0.75 * static_cast<double>(MachineMemoryBytes()) / (1 << 20);
  EXPECT_NEAR(static_cast<double>(settings.server.limits.memory_mib), three_quarters, 1.01);
  EXPECT_TRUE(settings.backends.empty());
  ASSERT_EQ(settings.models.size(), 1u);
  const ModelSettings& model = settings.models[0];
  EXPECT_EQ(model.backend, "cpu");
  EXPECT_EQ(model.dtype, DType::kFloat32);
  EXPECT_EQ(model.conv, ConvAlgorithm::kAuto);
  EXPECT_EQ(model.max_batch, 8);
  EXPECT_EQ(model.forward_rows(), 8);
  EXPECT_EQ(model.dynamic_batching.max_queue_delay_microseconds, 0);
  EXPECT_TRUE(model.shapes.empty());
  EXPECT_TRUE(model.scheduler.empty());
  EXPECT_EQ(model.json_path, "models[0]");
  ASSERT_EQ(model.variants.size(), 1u);
  EXPECT_EQ(model.variants[0].name, "default");
  EXPECT_EQ(model.variants[0].weight, 1);
  EXPECT_TRUE(model.variants[0].processors.empty());
}

TEST(ParseSettings, ReadsEveryKey) {
  const Settings settings = Parse(R"({
    "server": {"address": "0.0.0.0:1", "http_address": "[::1]:2", "log_format": "json",
               "log_level": "error",
               "limits": {"message_mib": 1, "queue": 2, "memory_mib": 3, "drain_s": 0.25}},
    "backends": [{"name": "cpu", "options": {"threads": 2, "mode": "fast", "list": [1, null]}},
                 {"name": "npu", "library": "lib/npu.so"}],
    "models": [{
      "name": "a", "path": "models/a/unet/", "scheduler": "/abs/scheduler.json", "backend": "npu",
      "dtype": "bfloat16", "conv": "winograd", "max_batch": 4, "shapes": [[64, 32], [8, 8]],
      "dynamic_batching": {"max_batch": 16, "max_queue_delay_microseconds": 500},
      "variants": [
        {"name": "x", "weight": 2.5},
        {"name": "y", "weight": 0, "processors": [
          {"layers": "*.attn1", "processor": "P", "slice_size": 1, "dropout": 0.5, "op": null,
           "train_kv": false, "text": "t"},
          {"weights": "../w.safetensors", "fallback": "sdpa", "backend": "cpu", "processor": "Q",
           "layers": "mid"}]}]}]})");
  EXPECT_EQ(settings.server.address, "0.0.0.0:1");
  EXPECT_EQ(settings.server.http_address, "[::1]:2");
  EXPECT_EQ(settings.server.log_format, LogFormat::kJson);
  EXPECT_EQ(settings.server.log_level, LogLevel::kError);
  EXPECT_EQ(settings.server.limits.message_mib, 1);
  EXPECT_EQ(settings.server.limits.queue, 2);
  EXPECT_EQ(settings.server.limits.memory_mib, 3);
  EXPECT_EQ(settings.server.limits.drain_s, 0.25);

  ASSERT_EQ(settings.backends.size(), 2u);
  using Options = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(settings.backends[0].options,
            (Options{{"threads", "2"}, {"mode", "fast"}, {"list", "[1,null]"}}));
  EXPECT_EQ(settings.backends[0].library, "");
  EXPECT_EQ(settings.backends[1].library, "/etc/unetd/lib/npu.so");
  EXPECT_EQ(settings.backends[1].json_path, "backends[1]");

  ASSERT_EQ(settings.models.size(), 1u);
  const ModelSettings& model = settings.models[0];
  EXPECT_EQ(model.path, "/etc/unetd/models/a/unet");
  EXPECT_EQ(model.path.parent_path(), "/etc/unetd/models/a");
  EXPECT_EQ(model.scheduler, "/abs/scheduler.json");
  EXPECT_EQ(model.backend, "npu");
  EXPECT_EQ(model.dtype, DType::kBFloat16);
  EXPECT_EQ(model.conv, ConvAlgorithm::kWinograd);
  EXPECT_EQ(model.max_batch, 4);
  EXPECT_EQ(model.forward_rows(), 16);
  EXPECT_EQ(model.dynamic_batching.max_queue_delay_microseconds, 500);
  EXPECT_EQ(model.shapes, (std::vector<std::pair<int64_t, int64_t>>{{64, 32}, {8, 8}}));
  ASSERT_EQ(model.variants.size(), 2u);
  EXPECT_EQ(model.variants[0].weight, 2.5);
  EXPECT_EQ(model.variants[1].weight, 0);
  EXPECT_EQ(model.variants[1].json_path, "models[0].variants[1]");

  ASSERT_EQ(model.variants[1].processors.size(), 2u);
  const ProcessorRule& first = model.variants[1].processors[0];
  EXPECT_EQ(first.layers, "*.attn1");
  EXPECT_EQ(first.processor, "P");
  EXPECT_EQ(first.backend, "");
  EXPECT_EQ(first.fallback, "");
  EXPECT_EQ(first.weights, "");
  ASSERT_EQ(first.options.size(), 5u);
  EXPECT_EQ(first.options[0].first, "slice_size");  // in the order given
  EXPECT_EQ(first.options[4].first, "text");
  EXPECT_EQ(*first.FindOption("slice_size"), OptionValue(int64_t{1}));
  EXPECT_EQ(*first.FindOption("dropout"), OptionValue(0.5));
  EXPECT_EQ(*first.FindOption("op"), OptionValue(nullptr));
  EXPECT_EQ(*first.FindOption("train_kv"), OptionValue(false));
  EXPECT_EQ(*first.FindOption("text"), OptionValue(std::string("t")));
  EXPECT_EQ(first.FindOption("layers"), nullptr);
  const ProcessorRule& second = model.variants[1].processors[1];
  EXPECT_EQ(second.weights, "/etc/w.safetensors");
  EXPECT_EQ(second.fallback, "sdpa");
  EXPECT_EQ(second.backend, "cpu");
  EXPECT_TRUE(second.options.empty());
  EXPECT_EQ(second.json_path, "models[0].variants[1].processors[1]");
}

TEST(ParseSettings, WholeFloatsAreIntegers) {
  EXPECT_EQ(Parse(WithModel(R"("max_batch":4.0)")).models[0].max_batch, 4);
}

TEST(ParseSettings, OptionsPrintAsJson) {
  EXPECT_EQ(OptionText(nullptr), "null");
  EXPECT_EQ(OptionText(true), "true");
  EXPECT_EQ(OptionText(int64_t{-3}), "-3");
  EXPECT_EQ(OptionText(0.5), "0.5");
  EXPECT_EQ(OptionText(std::string("a\"b")), "\"a\\\"b\"");
}

// What a schema cannot tell; BadConfigs has the rest.
TEST(ParseSettings, RefusesWhatContradictsItself) {
  const std::pair<std::string, std::string> cases[] = {
      {WithModel(R"("variants":[{"name":"a","weight":0},{"name":"b","weight":0}])"),
       "models[0].variants: expected weights with a positive, finite sum, got the sum 0"},
      {WithModel(R"("variants":[{"name":"a","weight":1e308},{"name":"b","weight":1e308}])"),
       "models[0].variants: expected weights with a positive, finite sum, got the sum inf"},
      {WithModel(R"("variants":[{"name":"a"},{"name":"a"}])"),
       "models[0].variants[1].name: expected another name"},
      {R"({"models":[{"name":"m","path":"p"},{"name":"m","path":"q"}]})",
       "models[1].name: expected another name"},
      {WithBackends(R"([{"name":"cpu"},{"name":"cpu"}])"),
       "backends[1].name: expected another name"},
      {WithBackends(R"([{"name":"npu"}])"),
       "models[0]: expected the key 'backend': unsaid it is 'cpu'"},
      {R"({"backends":[{"name":"b"},{"name":"a"}],"models":[{"name":"m","path":"p","backend":"c"}]})",
       "models[0].backend: expected one that backends lists ('a', 'b'), got 'c'"},
      {R"({"backends":[{"name":"cpu"}],"models":[{"name":"m","path":"p","variants":[{"name":"v",
           "processors":[{"layers":"*","processor":"P","backend":"npu"}]}]}]})",
       "models[0].variants[0].processors[0].backend: expected one that backends lists ('cpu')"},
      {WithServer(R"("address":"h:5","http_address":"h:5")"),
       "server.http_address: expected another address"},
      {WithServer(R"("address":"127.0.0.1:8002")"),
       "server.http_address: expected another address"},
      {WithRule(R"("n":18446744073709551615)"),
       "models[0].variants[0].processors[0].n: expected an integer of 64 bits"},
      {R"({"models":[{"name":"m","path":"p\u0000q"}]})",
       "models[0].path: expected text without NUL"},
      {WithRule(R"("t":"\u0000")"),
       "models[0].variants[0].processors[0].t: expected text without NUL"},
      {WithBackends(R"([{"name":"cpu","options":{"k":"\u0000"}}])"),
       "backends[0].options.k: expected text without NUL"},
      {WithBackends(R"([{"name":"cpu","options":{"k\u0000":1}}])"),
       "backends[0].options['k\\x00']: expected text without NUL"},
  };
  for (const auto& [json, message] : cases) {
    EXPECT_TRUE(RefusalOf(json).starts_with(message)) << json << "\n" << RefusalOf(json);
  }
  EXPECT_EQ(Parse(WithServer(R"("address":"h:0","http_address":"h:0")")).server.address, "h:0");
}

TEST(ParseSettings, StrangersTextIsEscapedAndCut) {
  const std::string message = RefusalOf(R"({"models":[{"name":"\u001b[31m)" +
                                        std::string(1000, 'x') + R"(\n","path":"p"}]})");
  EXPECT_LT(message.size(), 300u);
  EXPECT_NE(message.find("\\x1b[31m"), std::string::npos) << message;
  const std::string key = RefusalOf("{\"" + std::string(100000, 'k') + "\":1}");
  EXPECT_LT(key.size(), 300u);
}

class LoadSettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("unetd_settings_" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(LoadSettingsTest, PathsAreRelativeToTheFile) {
  std::ofstream(folder_ / "c.json") << WithModel("");
  auto settings = LoadSettings(folder_ / "c.json");
  ASSERT_TRUE(settings.ok()) << settings.status().message();
  EXPECT_EQ(settings->models[0].path, folder_ / "p");
}

TEST_F(LoadSettingsTest, ErrorsNameTheFile) {
  std::ofstream(folder_ / "bad.json") << "{";
  EXPECT_TRUE(LoadSettings(folder_ / "bad.json")
                  .status()
                  .message()
                  .starts_with((folder_ / "bad.json").string() + ": line 1, column 1"));
  EXPECT_EQ(LoadSettings(folder_ / "absent.json").status().code(), Code::kNotFound);
  EXPECT_FALSE(LoadSettings(folder_).ok());
  const auto endless = LoadSettings("/dev/zero");
  ASSERT_FALSE(endless.ok());
  EXPECT_NE(endless.status().message().find("at most"), std::string::npos);
}

TEST(DefaultSettings, ServesDigitsOnTheDefaultBackend) {
  const Settings settings = DefaultSettings("/opt/unetd/config/digits");
  ASSERT_EQ(settings.models.size(), 1u);
  EXPECT_EQ(settings.models[0].name, "digits");
  EXPECT_EQ(settings.models[0].path, "/opt/unetd/config/digits/unet");
  EXPECT_EQ(settings.models[0].scheduler, "/opt/unetd/config/digits/scheduler");
  EXPECT_EQ(settings.models[0].backend, kDefaultBackend);
  ASSERT_EQ(settings.models[0].variants.size(), 1u);
  EXPECT_GT(settings.server.limits.memory_mib, 0);
}

}  // namespace
}  // namespace unetd
