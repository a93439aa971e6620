// Every golden of tests/golden/processors: a whole UNet with one processor on all layers that it
// can serve.
#include <gtest/gtest.h>

#include <cctype>
#include <nlohmann/json.hpp>

#include "server/weights/safetensors.h"
#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The promise is 2e-4 of the output's standard deviation; diffusers' own fp32 is within 2e-5 of
// exact arithmetic on these files.
constexpr double kTolerance = 5e-5;
constexpr double kHalfTolerance = 4e-2;  // of float16 storage, whose eps is 1e-3

const char kMemoryEfficient[] = "memory_efficient";

struct Param {
  std::string backend;
  DType dtype = DType::kFloat32;
  fs::path io;
};

std::vector<fs::path> Files() {
  std::vector<fs::path> files;
  for (const fs::path& file : GoldenFiles(GoldenFolder() / "processors", "")) {
    if (file.parent_path().filename() == "layers") continue;  // tests/attention
    if (file.stem().extension() != ".weights") files.push_back(file);
  }
  return files;
}

std::vector<ProcessorRule> RulesOf(const std::map<std::string, std::string>& metadata) {
  ProcessorRule rule;
  rule.layers = "*";
  rule.processor = metadata.at("processor");
  rule.json_path = "processors[0]";
  if (const auto weights = metadata.find("weights"); weights != metadata.end()) {
    rule.weights = GoldenFolder() / weights->second;
  }
  const json options = json::parse(metadata.at("options"));
  for (const auto& [name, value] : options.items()) {
    rule.options.emplace_back(name, value.is_boolean()  ? OptionValue(value.get<bool>())
                                    : value.is_string() ? OptionValue(value.get<std::string>())
                                                        : OptionValue(value.get<int64_t>()));
  }
  std::vector<ProcessorRule> rules = {rule};
  // A slice is of one layer's heads, and the file's model has layers of fewer than 3.
  if (rule.processor == "SlicedAttnProcessor" && options.at("slice_size") > 2) {
    for (const char* layers : {"down_blocks.0.*", "up_blocks.1.*"}) {
      rules.push_back(rule);
      rules.back().layers = layers;
      rules.back().options = {{"slice_size", int64_t{2}}};
    }
  }
  return rules;
}

class ProcessorGolden : public testing::TestWithParam<Param> {};

StatusOr<GoldenSetup> SetupOf(const Param& param,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<BackendSettings> backends;
  for (const std::string& name : {param.backend, std::string(kMemoryEfficient)}) {
    backends.emplace_back();
    backends.back().name = name;
  }
  GoldenSetup setup;
  ASSIGN_OR_RETURN(setup.registry,
                   BackendRegistry::Open(backends, fs::path(UNETD_BUILD_DIR) / "lib" / "unetd"));
  ASSIGN_OR_RETURN(setup.backend, setup.registry.Find(param.backend));
  setup.rules = RulesOf(metadata);
  setup.dtype = param.dtype;
  return setup;
}

TEST_P(ProcessorGolden, EqualsItsNamesake) {
  const Param& param = GetParam();
  const auto file = SafetensorsFile::Open(param.io);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto& metadata = (*file)->metadata();
  const auto setup = SetupOf(param, metadata);
  ASSERT_TRUE(setup.ok()) << setup.status().message();

  const auto run = RunGolden(GoldenFolder() / metadata.at("model"), param.io, *setup);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_GT(run->std, 0);
  const bool half = param.dtype != DType::kFloat32;
  EXPECT_LE(run->worst, (half ? kHalfTolerance : kTolerance) * run->std)
      << "worst difference is " << run->worst / run->std << " of the standard deviation";
  if (half) {
    EXPECT_GT(run->worst, kTolerance * run->std) << "not stored as said";
  }
}

// Alone or in a batch, in any slot, by one thread or two; frames come as their whole group.
TEST_P(ProcessorGolden, HasTheSameBitsWhereverARowRuns) {
  const Param& param = GetParam();
  const auto file = SafetensorsFile::Open(param.io);
  ASSERT_TRUE(file.ok()) << file.status().message();
  const auto& metadata = (*file)->metadata();
  auto setup = SetupOf(param, metadata);
  ASSERT_TRUE(setup.ok()) << setup.status().message();
  const fs::path model = GoldenFolder() / metadata.at("model");
  const auto whole = RunGolden(model, param.io, *setup);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  setup->threads = 2;
  if (metadata.at("processor").starts_with("CrossFrame")) {
    const auto again = RunGolden(model, param.io, *setup);
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(again->outputs, whole->outputs);
    return;
  }
  const auto last = static_cast<uint32_t>(whole->outputs.size()) - 1;
  using Rows = std::vector<uint32_t>;
  for (const Rows& rows : {Rows{last}, Rows{last, 0, last}}) {
    setup->rows = rows;
    const auto part = RunGolden(model, param.io, *setup);
    ASSERT_TRUE(part.ok()) << part.status().message();
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(part->outputs[i], whole->outputs[rows[i]]) << "row " << rows[i] << " in slot " << i;
    }
  }
}

std::vector<Param> Params() {
  std::vector<Param> params;
  for (const fs::path& io : Files()) {
    params.push_back({"reference", DType::kFloat32, io});
    params.push_back({"cpu", DType::kFloat32, io});
    // In half precision that one needs an NPU: tests/attention.
    if (io.filename().string().starts_with("AttnProcessorNPU")) continue;
    params.push_back({"cpu", DType::kFloat16, io});
  }
  return params;
}

INSTANTIATE_TEST_SUITE_P(, ProcessorGolden, testing::ValuesIn(Params()), [](const auto& info) {
  std::string name = info.param.io.stem().string();
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return info.param.backend + "_" + std::string(TorchName(info.param.dtype)) + "_" + name;
});

TEST(ProcessorGoldens, AreThere) { EXPECT_GE(Files().size(), 30u); }

}  // namespace
}  // namespace unetd::test
