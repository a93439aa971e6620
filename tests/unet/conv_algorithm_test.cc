// The option `conv`: every way of convolving gives what diffusers gives, also where a model is
// served at another size than the one that the choice goes by.
#include <gtest/gtest.h>

#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

namespace fs = std::filesystem;

// As in golden_test.cc, which runs `auto`: a quarter of what is promised.
constexpr double kTolerance = 5e-5;
constexpr Size kLarge{128, 128};  // F(4, 3) on every level of every golden
constexpr char kWinograd[] = "winograd";

uint64_t CountOf(const GoldenRun& run, const std::string& prefix) {
  uint64_t count = 0;
  for (const auto& [kernel, convolutions] : run.convolutions) {
    if (kernel.starts_with(prefix)) count += convolutions;
  }
  return count;
}

class ConvAlgorithms : public testing::TestWithParam<fs::path> {
 protected:
  void SetUp() override {
    std::string why;
    setup_.backend = GoldenBackend("cpu", why);
    ASSERT_NE(setup_.backend, nullptr) << why;
  }
  GoldenRun Run(ConvAlgorithm conv, Size declared = {0, 0}) {
    setup_.conv = conv;
    setup_.declared = declared;
    const auto run = RunGolden(GetParam().parent_path(), GetParam(), setup_);
    EXPECT_TRUE(run.ok()) << run.status().message();
    return run.ok() ? *run : GoldenRun{};
  }
  // Its error in units of the output's standard deviation.
  void ExpectNear(const GoldenRun& run, const char* what) {
    EXPECT_GT(run.std, 0);
    EXPECT_LE(run.worst, kTolerance * run.std) << what << ": " << run.worst / run.std;
    RecordProperty(what, std::to_string(run.worst / run.std * 1e6) + "e-6");
  }
  GoldenSetup setup_;
};

TEST_P(ConvAlgorithms, AllEqualDiffusers) {
  const GoldenRun direct = Run(ConvAlgorithm::kDirect);
  ExpectNear(direct, "direct");
  EXPECT_EQ(CountOf(direct, kWinograd), 0u);
  ExpectNear(Run(ConvAlgorithm::kWinograd), "winograd");
  ExpectNear(Run(ConvAlgorithm::kWinograd, kLarge), "winograd_declared_larger");
}

INSTANTIATE_TEST_SUITE_P(, ConvAlgorithms,
                         testing::ValuesIn(GoldenFiles(GoldenFolder() / "unet", "io")),
                         [](const auto& info) {
                           std::string name =
                               fs::relative(info.param, GoldenFolder() / "unet").string();
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

// So that the tests above compare different things.
TEST(ConvAlgorithm, ChangesTheKernels) {
  const fs::path model = GoldenFolder() / "unet" / "digits_kind";
  std::string why;
  GoldenSetup setup;
  setup.backend = GoldenBackend("cpu", why);
  ASSERT_NE(setup.backend, nullptr) << why;
  const auto count = [&](ConvAlgorithm conv, Size declared, const std::string& prefix) {
    setup.conv = conv;
    setup.declared = declared;
    const auto run = RunGolden(model, model / "io.safetensors", setup);
    EXPECT_TRUE(run.ok()) << run.status().message();
    return run.ok() ? CountOf(*run, prefix) : 0;
  };
  const Size own{0, 0};
  const uint64_t all = count(ConvAlgorithm::kDirect, own, "");
  EXPECT_EQ(count(ConvAlgorithm::kDirect, own, "packed gemm"), all);
  const uint64_t by_rule = count(ConvAlgorithm::kAuto, own, "winograd F(2");
  EXPECT_GT(by_rule, 0u);
  EXPECT_EQ(count(ConvAlgorithm::kAuto, own, "winograd F(4"), 0u);
  EXPECT_GT(count(ConvAlgorithm::kAuto, kLarge, "winograd F(4"), by_rule);
  EXPECT_EQ(count(ConvAlgorithm::kAuto, kLarge, "winograd F(2"), 0u);
  EXPECT_GT(count(ConvAlgorithm::kWinograd, own, kWinograd), by_rule);
}

}  // namespace
}  // namespace unetd::test
