// The state that a Step answers with, as it comes back: whole, or refused with what is wrong.
#include "server/serving/step_state.h"

#include <random>

#include "server/base/hash.h"
#include "tests/serving/steps.h"

namespace unetd {
namespace {

class StepState : public testing::Test {
 protected:
  void SetUp() override {
    loop_ = tiny_.Request();
    loop_.num_inference_steps = 9;
    loop_.scheduler_json = R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true})";
    sample_ = Ramp("sample", tiny_.shape).values;
    for (int64_t i = 0; i < 3; ++i) {
      auto answer = Step(TheServer(), StepOf(loop_, i, tiny_.shape, sample_, state_));
      ASSERT_TRUE(answer.ok()) << answer.status().message();
      state_ = std::move(answer->state);
      sample_ = FloatsOf(answer->sample);
    }
    ASSERT_GT(state_.size(), 2u);
  }
  StepRequest Third() const { return StepOf(loop_, 3, tiny_.shape, sample_, state_); }
  std::string ErrorOf(StepRequest request) {
    const auto answer = Step(TheServer(), std::move(request));
    EXPECT_FALSE(answer.ok());
    EXPECT_EQ(answer.status().code(), Code::kInvalidArgument) << answer.status().message();
    return answer.status().message();
  }

  const TinyDenoise tiny_{2};
  DenoiseRequest loop_;
  std::vector<float> sample_;
  std::vector<OutputTensor> state_;  // for step 3
};

TEST_F(StepState, OfAnotherLoopIsRefused) {
  const auto error = [&](const std::function<void(StepRequest&)>& change) {
    StepRequest request = Third();
    change(request);
    return ErrorOf(std::move(request));
  };
  EXPECT_EQ(error([](auto& r) { r.step_index = 4; }), "state: it is for step 3, and this one is 4");
  EXPECT_EQ(error([](auto& r) { r.step_index = 0; }),
            "state: expected none for step 0, which begins a loop");
  EXPECT_EQ(error([](auto& r) { r.num_inference_steps = 8; }),
            "state: it comes from a loop of 10 steps, and this one has 9");
  EXPECT_EQ(error([](auto& r) {
              r.scheduler_json =
                  R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true, "beta_end": 0.01})";
            }),
            "state: it comes from another scheduler config than this request's");
  EXPECT_EQ(error([](auto& r) { r.scheduler_json.clear(); }),
            "state: it comes from another scheduler config than this request's");
  const TinyDenoise one(1);
  StepRequest other = StepOf(one.Request(), 3, one.shape, sample_, state_);
  other.sample.bytes /= 2;
  other.num_inference_steps = 9;
  other.scheduler_json = loop_.scheduler_json;
  EXPECT_EQ(ErrorOf(other), "state: it comes from a sample [2,4,8,8], and this one is [1,4,8,8]");
}

TEST_F(StepState, ThatIsNotWholeIsRefused) {
  const auto error = [&](const std::function<void(std::vector<TensorView>&)>& change) {
    StepRequest request = Third();
    change(request.state);
    return ErrorOf(std::move(request));
  };
  const std::string count =
      Format("state: expected the {} tensors that its header counts, got ", state_.size());
  EXPECT_EQ(error([](auto& s) { s.pop_back(); }), count + std::to_string(state_.size() - 1));
  EXPECT_EQ(error([](auto& s) { s.push_back(s.back()); }),
            count + std::to_string(state_.size() + 1));
  EXPECT_TRUE(error([](auto& s) { s.erase(s.begin()); })
                  .starts_with("state: expected the tensors that the step before returned, which "
                               "begin with at least 96 of UINT8, got FP32 [2,4,8,8]"));
  EXPECT_EQ(error([](auto& s) { std::swap(s[1], s[2]); }),
            "state: damaged: its checksum is another");
  EXPECT_NE(error([](auto& s) { s[0].bytes = 3, s[0].shape = {3}; }).find("got UINT8 [3]"),
            std::string::npos);
  EXPECT_NE(error([](auto& s) { s[0].bytes -= 8, s[0].shape[0] -= 8; }).find("which do not fit"),
            std::string::npos);
  EXPECT_EQ(error([](auto& s) {
              s[1].shape = {2, 8, 4, 8};
            }),
            "state: tensor 1: expected FP32 [2,4,8,8], got FP32 [2,8,4,8]");
  EXPECT_EQ(error([](auto& s) { s[1].shape[0] = 1, s[1].bytes /= 2; }),
            "state: damaged: its checksum is another");
}

TEST_F(StepState, AnyFlippedBitIsRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    // The header's every bit, then any.
    std::string& bytes = state_[i < 1000 ? 0 : random() % state_.size()].bytes;
    const size_t bit =
        i < 1000 ? static_cast<size_t>(i) % (bytes.size() * 8) : random() % (bytes.size() * 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_TRUE(ErrorOf(Third()).starts_with("state: ")) << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
  EXPECT_TRUE(Step(TheServer(), Third()).ok());
  EXPECT_EQ(TheServer().Stats().domains[0].requests_bytes, 0u);
}

// Without its state a scheduler begins anew: that is another result, not an error.
TEST_F(StepState, LeftOutBeginsAnew) {
  const auto with = Step(TheServer(), Third());
  StepRequest request = Third();
  request.state.clear();
  const auto without = Step(TheServer(), request);
  ASSERT_TRUE(with.ok() && without.ok());
  EXPECT_NE(with->sample.bytes, without->sample.bytes);
}

// A checksum can be made by anyone: what it holds must do no harm, whoever the scheduler is.
TEST_F(StepState, ForgedOnesAreRefusedOrDoNoHarm) {
  std::mt19937_64 random(2);
  const auto own = ReadSchedulerFile(Digits() / "scheduler");
  for (const char* name :
       {"DDIM", "DDPM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete",
        "DPMSolverMultistep", "UniPCMultistep", "PNDM", "LCM", "TCD"}) {
    loop_.scheduler_json = Format(R"({{"_class_name": "{}Scheduler"}})", name);
    const auto scheduler = SchedulerOf(loop_.scheduler_json, loop_.num_inference_steps);
    StateOwner owner;
    owner.scheduler = StableHash(loop_.scheduler_json, StableHash(*own));
    owner.steps = static_cast<int64_t>(scheduler->timesteps().size());
    owner.sample_shape = tiny_.shape;
    int refused = 0;
    for (int i = 0; i < 200; ++i) {
      const auto any = [&]() -> int64_t {
        constexpr int64_t kOdd[] = {0, 1, 2, 3, -1, 4, 64, INT64_MAX, INT64_MIN, 1 << 20};
        return kOdd[random() % std::size(kOdd)];
      };
      SchedulerState forged;
      forged.counters.resize(random() % 4);
      for (int64_t& counter : forged.counters) counter = any();
      forged.tensors.resize(random() % 6);
      for (auto& tensor : forged.tensors) {
        const float value = i % 3 == 0 ? NAN : 0.5f;
        if (random() % 4 != 0) tensor.assign(sample_.size(), value);
      }
      const int64_t index = 1 + static_cast<int64_t>(random() % (owner.steps - 1));
      const auto state = EncodeState(owner, index, forged);
      ASSERT_TRUE(state.ok()) << state.status().message();
      const auto answer = Step(TheServer(), StepOf(loop_, index, tiny_.shape, sample_, *state));
      refused += !answer.ok();
      if (answer.ok()) continue;
      EXPECT_EQ(answer.status().code(), Code::kInvalidArgument) << name;
      EXPECT_TRUE(answer.status().message().starts_with("state")) << answer.status().message();
    }
    EXPECT_GT(refused, 100) << name;
  }
  EXPECT_EQ(TheServer().Stats().domains[0].requests_bytes, 0u);
}

}  // namespace
}  // namespace unetd
