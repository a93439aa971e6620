// The backend as a plan of a host model uses it: attention on the device, copies at its edges.
#include <gmock/gmock.h>

#include <cstring>

#include "tests/npu/harness.h"
#include "tests/plan/small_plan.h"

namespace unetd::test {
namespace {

using ::testing::HasSubstr;

constexpr uint32_t kHeads = 2, kWidth = 8;

class NpuPlan : public SmallPlan {
 protected:
  void SetUp() override {
    SmallPlan::SetUp();
    Open(ReferenceBackend());
  }

  // A float32 model's attention of the image over the text, computed in `compute` on `backend`.
  StatusOr<std::shared_ptr<const Plan>> Build(uint32_t algorithm, std::shared_ptr<Backend> backend,
                                              DType compute, bool masked = true) {
    PlanBuilder b({backend_, weights_.get(), DType::kFloat32});
    const Value x = b.ImageInput("sample", 2 * kWidth, kImage);
    const Value kv = b.TokensInput("text", kText, 2 * kWidth, DType::kFloat32);
    AttentionSpec spec;
    spec.algorithm = algorithm;
    spec.heads = kHeads;
    spec.head_dim = kWidth / kHeads;
    spec.scale = 0.5f;
    if (masked) spec.mask = b.TokensInput("mask", 1, kText, DType::kFloat32);
    spec.backends = {std::move(backend)};
    spec.compute = compute;
    b.SetLayer("attn");
    b.Output(b.Attention(SliceChannels(x, 3, kWidth), SliceChannels(kv, 0, kWidth),
                         SliceChannels(kv, kWidth, kWidth), spec));
    return Compile(b, {.packed = packed_.get()});
  }

  // Token 1 of the text is masked out.
  std::vector<std::vector<float>> Run(const std::shared_ptr<const Plan>& plan, uint32_t rows) {
    auto runner = *Runner::Create(backend_, ledger_, 1);
    EXPECT_TRUE(runner->Admit(*plan, rows).ok());
    auto blocks = *RequestBlocks::Create(plan, *ledger_, rows);
    std::vector<uint32_t> order;
    for (uint32_t row = 0; row < rows; ++row) {
      FillRow(*blocks, row, row);
      const float mask[kText] = {0, -10000, 0};
      if (const PlanInput* input = plan->FindInput("mask")) {
        std::memcpy(blocks->Input(*input, row), mask, sizeof(mask));
      }
      order.push_back(row);
    }
    const Status status = RunAll(*runner, *blocks, order);
    EXPECT_TRUE(status.ok()) << status.message();
    std::vector<std::vector<float>> outputs;
    for (uint32_t row = 0; row < rows; ++row) {
      outputs.emplace_back(blocks->Output(row), blocks->Output(row) + kWidth * kImage.h * kImage.w);
    }
    return outputs;
  }

  // Inputs of size 1 to 4 and results are rounded by `unit`, a dtype's unit roundoff; 4 values make
  // a score, which a softmax passes on.
  void ExpectTheHostsNumbers(const std::shared_ptr<Backend>& npu, DType compute, bool masked,
                             float unit) {
    const auto host = Build(UNETD_ATTENTION_MATH, backend_, DType{0}, masked);
    const auto far = Build(UNETD_ATTENTION_NPU, npu, compute, masked);
    ASSERT_TRUE(host.ok() && far.ok()) << far.status().message();
    const auto expected = Run(*host, 3), got = Run(*far, 3);
    for (uint32_t row = 0; row < 3; ++row) {
      for (size_t i = 0; i < expected[row].size(); ++i) {
        ASSERT_NEAR(got[row][i], expected[row][i], 16 * unit) << row << " " << i;
      }
    }
  }
};

TEST_F(NpuPlan, GivesTheHostsNumbers) {
  {
    const auto npu = OpenNpu();
    ASSERT_TRUE(npu.ok()) << npu.status().message();
    for (const bool masked : {true, false}) {
      ExpectTheHostsNumbers(*npu, DType::kFloat16, masked, 0x1p-11f);
      ExpectTheHostsNumbers(*npu, DType::kBFloat16, masked, 0x1p-8f);
    }
  }
  ExpectNoLeaks();
}

TEST_F(NpuPlan, TheRefusalOfFloat32SaysWhatToSet) {
  const auto npu = OpenNpu();
  ASSERT_TRUE(npu.ok());
  EXPECT_THAT(Build(UNETD_ATTENTION_NPU, *npu, DType{0}).status().message(),
              HasSubstr("fp32 layers run SDPA on the host; set compute"));
}

TEST_F(NpuPlan, PromptFlashAttentionIsGivenARowAQueryOfTheMask) {
  const auto npu = OpenNpu("prompt");
  ASSERT_TRUE(npu.ok());
  ExpectTheHostsNumbers(*npu, DType::kFloat16, false, 0x1p-11f);
  ExpectTheHostsNumbers(*npu, DType::kFloat16, true, 0x1p-11f);
}

}  // namespace
}  // namespace unetd::test
