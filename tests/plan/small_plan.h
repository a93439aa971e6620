// A small graph with all three sections, on the reference provider or on one that refuses what is
// fused.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "server/backend/reference.h"
#include "server/plan/request_blocks.h"
#include "server/weights/writer.h"

namespace unetd {

inline constexpr Size kImage{6, 5};
inline constexpr uint32_t kChannels = 4, kText = 3, kTextChannels = 8, kTimeChannels = 16;

// The reference provider, but for segments, resizes inside a convolution and fused residuals.
inline const unetd_backend* PlainBackend() {
  static const unetd_backend table = [] {
    unetd_backend plain = *ReferenceBackend();
    plain.name = "plain";
    plain.supports = [](void* state, const unetd_op_desc* desc, unetd_error* why) -> int32_t {
      const bool elementwise = desc->kind == UNETD_OP_ELEMENTWISE;
      const bool segments = desc->args[UNETD_ARG_SRC1].tokens != 0 && !elementwise;
      const bool residual = desc->args[UNETD_ARG_RESIDUAL].tokens != 0 && !elementwise;
      const bool resize = desc->kind == UNETD_OP_CONV2D && desc->u.conv2d.resize_h != 0;
      if (!segments && !residual && !resize) return ReferenceBackend()->supports(state, desc, why);
      std::snprintf(why->text, sizeof(why->text), "not so fused");
      return UNETD_UNSUPPORTED;
    };
    return plain;
  }();
  return &table;
}

class SmallPlan : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937 random(11);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    std::map<std::string, Tensor> tensors;
    const auto add = [&](const std::string& name, Shape shape) {
      Tensor tensor = *Tensor::Allocate(DType::kFloat32, shape);
      for (uint64_t i = 0; i < tensor.elements(); ++i) tensor.as<float>()[i] = normal(random);
      tensors.emplace(name, std::move(tensor));
    };
    add("conv_in.weight", {8, kChannels, 3, 3});
    add("conv_in.bias", {8});
    add("time.weight", {8, kTimeChannels});
    add("text.weight", {16, kTextChannels});
    add("query.weight", {8, 8});
    add("norm.weight", {16});
    add("norm.bias", {16});
    add("conv_out.weight", {kChannels, 16, 3, 3});
    std::map<std::string, TensorView> views;
    for (auto& [name, tensor] : tensors) views[name] = tensor.View();
    // A folder of its own: ctest runs the tests of this fixture side by side.
    std::string name = ::testing::TempDir() + "/small_plan_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    ASSERT_TRUE(WriteSafetensors(folder_ / "w.safetensors", views).ok());
    weights_ = *WeightStore::OpenFolder(folder_ / "w.safetensors");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Open(const unetd_backend* table, uint64_t limit = 1 << 24) {
    backend_ = *Backend::Open(table, {}, "built in");
    ledger_ = std::make_shared<Ledger>(limit);
    packed_ = std::make_unique<PackedStore>(backend_, ledger_);
  }

  // conv_in(+time) -> attention over text -> group_norm over [x, attention] -> resized conv with a
  // residual.
  PlanBuilder Emit() {
    PlanBuilder b({backend_, weights_.get(), DType::kFloat32});
    const Value x = b.ImageInput("sample", kChannels, kImage);
    const Value text = b.TokensInput("text", kText, kTextChannels, DType::kFloat32);
    const Value time = b.Sinusoid(b.TimeInput(), kTimeChannels, true, 0);
    Conv2dSpec in{.weight = {"conv_in.weight"}, .bias = {"conv_in.bias"}, .out_channels = 8};
    in.row_bias = b.Linear(time, {.segments = {{{"time.weight"}, {}, 8}}, .residual = {}});
    const Value h = b.Conv2d(x, in);
    const Value kv = b.Linear(text, {.segments = {{{"text.weight"}, {}, 16}}, .residual = {}});
    b.SetLayer("attn");
    const Value q = b.Linear(h, {.segments = {{{"query.weight"}, {}, 8}}, .residual = {}});
    const Value attention = b.Attention(
        q, SliceChannels(kv, 0, 8), SliceChannels(kv, 8, 8),
        {.heads = 2, .head_dim = 4, .scale = 0.5f, .op = {}, .mask = {}, .backends = {}});
    b.SetLayer("");
    const Value normed = b.GroupNorm(Concat(h, attention), {.gamma = {"norm.weight"},
                                                            .beta = {"norm.bias"},
                                                            .groups = 4,
                                                            .row_scale = {},
                                                            .row_shift = {}});
    Conv2dSpec out{
        .weight = {"conv_out.weight"}, .bias = {}, .out_channels = kChannels, .resize = kImage};
    out.residual = x;
    out.out_scale = 0.5f;
    b.Output(b.Conv2d(normed, out));
    return b;
  }

  StatusOr<std::shared_ptr<const Plan>> Build() {
    PlanBuilder builder = Emit();
    return Compile(builder, {.packed = packed_.get()});
  }

  // Row `row` of a request is always the same input, whatever the number of rows.
  static void FillRow(RequestBlocks& blocks, uint32_t row, uint32_t content) {
    std::mt19937 random(content);
    std::normal_distribution<float> normal;
    for (const PlanInput& input : blocks.plan().inputs) {
      float* data = reinterpret_cast<float*>(blocks.Input(input, row));
      for (uint64_t i = 0; i < input.bytes / 4; ++i) data[i] = normal(random);
    }
    blocks.SetTimestep(row, 0, 10.0f + static_cast<float>(content));
  }

  static Status RunAll(Runner& runner, RequestBlocks& blocks, const std::vector<uint32_t>& order,
                       const CancelFlag* cancel = nullptr) {
    std::vector<RowBlocks> rows;
    for (uint32_t row : order) rows.push_back(blocks.Row(row));
    for (uint32_t i = 0; i < rows.size(); ++i) rows[i].group = i;
    for (Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
      RETURN_IF_ERROR(runner.Run(blocks.plan(), section, rows, cancel));
    }
    return OkStatus();
  }

  static std::vector<float> OutputOf(const RequestBlocks& blocks, uint32_t row) {
    return {blocks.Output(row), blocks.Output(row) + kChannels * kImage.h * kImage.w};
  }

  std::filesystem::path folder_;
  std::shared_ptr<WeightStore> weights_;
  std::shared_ptr<Backend> backend_;
  std::shared_ptr<Ledger> ledger_;
  std::unique_ptr<PackedStore> packed_;
};

}  // namespace unetd
