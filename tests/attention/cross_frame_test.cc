// Rows that attend to one another are one group: run whole, and apart from other groups.
#include <gtest/gtest.h>

#include <filesystem>

#include "server/attention/binding.h"
#include "server/backend/library.h"
#include "server/backend/reference.h"
#include "server/plan/request_blocks.h"
#include "server/plan/runner.h"
#include "server/weights/weight_store.h"

namespace unetd {
namespace {

constexpr uint32_t kTokens = 12, kChannels = 16, kHeads = 4;
constexpr uint64_t kMemory = uint64_t{1} << 28;
using Rows = std::vector<std::vector<float>>;

class CrossFrame : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::filesystem::path plugin =
        std::filesystem::path(UNETD_BUILD_DIR) / "lib" / "unetd" / (GetParam() + ".so");
    auto backend = GetParam() == "reference" ? Backend::Open(ReferenceBackend(), {}, "built in")
                                             : LoadBackend(plugin.string(), {});
    ASSERT_TRUE(backend.ok()) << backend.status().message();
    auto weights = WeightStore::OpenFolder(std::filesystem::path(UNETD_SOURCE_DIR) /
                                           "tests/golden/processors/layers/self.safetensors");
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    weights_ = *weights;

    AttentionLayer layer;
    layer.name = "block.attn1";
    layer.query_dim = kChannels;
    layer.heads = kHeads;
    layer.head_dim = kChannels / kHeads;
    layer.scale = 0.5f;
    VariantSettings variant;
    variant.processors.resize(1);
    variant.processors[0].layers = "*";
    variant.processors[0].processor = "CrossFrameAttnProcessor2_0";
    const auto bindings = BindVariant(variant, {layer}, BackendRegistry(), *backend);
    ASSERT_TRUE(bindings.ok()) << bindings.status().message();
    PlanBuilder builder({*backend, weights_.get(), DType::kFloat32});
    const Value x = builder.TokensInput("x", kTokens, kChannels, DType::kFloat32, Section::kStep);
    builder.Output(EmitAttention(builder, layer, *bindings->Find(layer.name), x, {}));

    auto runner = Runner::Create(*backend, ledger_, 2);
    ASSERT_TRUE(runner.ok()) << runner.status().message();
    runner_ = *std::move(runner);
    packed_ = std::make_unique<PackedStore>(*backend, ledger_);
    CompileOptions options;
    options.packed = packed_.get();
    auto plan = Compile(builder, options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    plan_ = *plan;
  }

  // Row i of the batch holds `contents[i]`'s numbers and belongs to `groups[i]`.
  Rows Run(const std::vector<uint32_t>& contents, const std::vector<uint32_t>& groups) {
    const auto count = static_cast<uint32_t>(contents.size());
    auto blocks = RequestBlocks::Create(plan_, *ledger_, count);
    EXPECT_TRUE(blocks.ok());
    std::vector<RowBlocks> rows;
    for (uint32_t row = 0; row < count; ++row) {
      auto* data = reinterpret_cast<float*>((*blocks)->Input(plan_->inputs[0], row));
      for (uint32_t i = 0; i < kTokens * kChannels; ++i) {
        data[i] = static_cast<float>((contents[row] * 977 + i * 131) % 211) / 100.0f - 1.0f;
      }
      rows.push_back((*blocks)->Row(row));
      rows.back().group = groups[row];
    }
    const Status status = runner_->Run(*plan_, Section::kStep, rows, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    Rows outputs;
    for (uint32_t row = 0; row < count; ++row) {
      const float* out = (*blocks)->Output(row);
      outputs.emplace_back(out, out + kTokens * kChannels);
    }
    return outputs;
  }

  std::shared_ptr<WeightStore> weights_;
  std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>(kMemory);
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<PackedStore> packed_;
  std::shared_ptr<const Plan> plan_;
};

TEST_P(CrossFrame, GroupsAreRunWholeWhateverTheArenaHolds) {
  const Rows first = Run({0, 1, 2, 3}, {0, 0, 0, 0});
  const Rows second = Run({4, 5, 6, 7}, {1, 1, 1, 1});
  // Two groups of four rows come at once, and the arena holds one and a half.
  const Status admitted = runner_->Admit(*plan_, 6);
  ASSERT_TRUE(admitted.ok()) << admitted.message();
  const Rows both = Run({0, 1, 2, 3, 4, 5, 6, 7}, {0, 0, 0, 0, 1, 1, 1, 1});
  for (size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(both[row], first[row]) << row;
    EXPECT_EQ(both[4 + row], second[row]) << row;
  }
}

TEST_P(CrossFrame, FramesReadTheirVideosFirstOne) {
  const Rows out = Run({0, 1, 2, 3}, {0, 0, 0, 0});  // batch_size 2: videos 0 1 and 2 3
  EXPECT_EQ(out[0], Run({0}, {0})[0]);               // the first reads itself
  EXPECT_EQ(out[2], Run({2}, {0})[0]);
  EXPECT_NE(out[1], Run({1}, {0})[0]);
  // What a frame is does not depend on the other frames but the first.
  EXPECT_EQ(Run({0, 1, 9, 3}, {0, 0, 0, 0})[1], out[1]);
  EXPECT_NE(Run({9, 1, 2, 3}, {0, 0, 0, 0})[1], out[1]);
  // Strangers in one batch are groups of their own.
  const Rows strangers = Run({0, 1}, {0, 1});
  EXPECT_EQ(strangers[1], Run({1}, {0})[0]);
}

INSTANTIATE_TEST_SUITE_P(, CrossFrame, testing::Values("reference", "cpu"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd
