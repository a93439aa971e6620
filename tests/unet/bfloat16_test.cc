// Whole UNets in bfloat16 on the cpu backend, which multiplies it natively where the CPU can: what
// that costs in digits, and that a row's bits are its own there, too.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

namespace fs = std::filesystem;

// Root mean square of the difference, of the output's standard deviation. diffusers' own bfloat16
// is 0.014 to 0.16 off on these files.
constexpr double kTolerance = 0.04;

const char* const kFiles[] = {"sd15/io", "sdxl/io", "kolors/io", "sd15/io.controlnet",
                              "sdxl/io.encoder_mask"};

fs::path FileOf(const char* name) {
  return GoldenFolder() / "unet" / (std::string(name) + ".safetensors");
}

class UNetBfloat16 : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    setup_.backend = GoldenBackend("cpu", why);
    ASSERT_NE(setup_.backend, nullptr) << why;
  }
  GoldenSetup setup_;
};

TEST_F(UNetBfloat16, LosesNoMoreThanItsDigits) {
  for (const char* name : kFiles) {
    const fs::path io = FileOf(name);
    setup_.dtype = DType::kFloat32;
    const auto exact = RunGolden(io.parent_path(), io, setup_);
    setup_.dtype = DType::kBFloat16;
    const auto got = RunGolden(io.parent_path(), io, setup_);
    ASSERT_TRUE(exact.ok() && got.ok()) << exact.status().message() << got.status().message();
    double squares = 0, count = 0;
    for (size_t row = 0; row < got->outputs.size(); ++row) {
      for (size_t i = 0; i < got->outputs[row].size(); ++i, ++count) {
        const double difference = got->outputs[row][i] - exact->outputs[row][i];
        squares += difference * difference;
      }
    }
    const double error = std::sqrt(squares / count) / exact->std;
    RecordProperty(std::string("error_of_") + name, std::to_string(error));
    EXPECT_LE(error, kTolerance) << name;
  }
}

TEST_F(UNetBfloat16, RowsHaveTheSameBitsWhereverTheyRun) {
  setup_.dtype = DType::kBFloat16;
  for (const char* name : {"sd15/io.odder", "sdxl/io.odd"}) {
    const fs::path io = FileOf(name);
    setup_.rows = {0, 1, 2};
    setup_.threads = 1;
    const auto whole = RunGolden(io.parent_path(), io, setup_);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    for (const std::vector<uint32_t>& rows :
         std::vector<std::vector<uint32_t>>{{2}, {1, 0}, {2, 2, 1, 0, 1}}) {
      setup_.rows = rows;
      setup_.threads = 2;
      const auto part = RunGolden(io.parent_path(), io, setup_);
      ASSERT_TRUE(part.ok()) << part.status().message();
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(part->outputs[i], whole->outputs[rows[i]])
            << name << ": row " << rows[i] << " in slot " << i;
      }
    }
  }
}

}  // namespace
}  // namespace unetd::test
