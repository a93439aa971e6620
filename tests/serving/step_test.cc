// Single steps through the facade: a loop of them is Denoise, bit by bit, for every scheduler.
#include "tests/serving/steps.h"

namespace unetd {
namespace {

struct Case {
  const char* name;
  const char* scheduler_json;
  double eta = -1;  // below 0: unset
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr Case kCases[] = {
    {"own", ""},
    {"ddim_eta", R"({"_class_name": "DDIMScheduler"})", 0.7},
    {"ddpm", R"({"_class_name": "DDPMScheduler"})"},
    {"euler", R"({"_class_name": "EulerDiscreteScheduler"})"},
    {"euler_karras", R"({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true})"},
    {"euler_ancestral", R"({"_class_name": "EulerAncestralDiscreteScheduler"})"},
    {"heun", R"({"_class_name": "HeunDiscreteScheduler"})"},
    {"dpm", R"({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3})"},
    {"dpm_sde",
     R"({"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"})"},
    {"lcm", R"({"_class_name": "LCMScheduler"})"},
    {"tcd", R"({"_class_name": "TCDScheduler"})"},
    {"tcd_eta", R"({"_class_name": "TCDScheduler"})", 0.8},
    {"pndm", R"({"_class_name": "PNDMScheduler"})"},
    {"pndm_plms", R"({"_class_name": "PNDMScheduler", "skip_prk_steps": true})"},
    {"unipc", R"({"_class_name": "UniPCMultistepScheduler", "solver_order": 3})"},
};

class Steps : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    request_ = tiny_.Request();
    request_.num_inference_steps = 7;
    request_.scheduler_json = GetParam().scheduler_json;
    if (GetParam().eta >= 0) request_.eta = GetParam().eta;
    steps_ = static_cast<int64_t>(
        SchedulerOf(request_.scheduler_json, request_.num_inference_steps)->timesteps().size());
  }

  // Steps [start, end) one by one.
  std::vector<float> OneByOne(std::vector<float> sample, int64_t start, bool by_timestep = false) {
    std::vector<OutputTensor> state;
    const auto scheduler = SchedulerOf(request_.scheduler_json, request_.num_inference_steps);
    for (int64_t i = start; i < steps_; ++i) {
      StepRequest step = StepOf(request_, i, tiny_.shape, sample, state);
      if (by_timestep) {
        step.step_index = 0;
        step.timestep = scheduler->timesteps()[i];
      }
      auto answer = Step(TheServer(), step);
      EXPECT_TRUE(answer.ok()) << i << ": " << answer.status().message();
      if (!answer.ok()) return {};
      EXPECT_EQ(answer->state.empty(), i + 1 == steps_) << i;
      state = std::move(answer->state);
      sample = FloatsOf(answer->sample);
      original_ = answer->pred_original_sample.bytes;
    }
    return sample;
  }
  FloatTensor Start() {
    FloatTensor noise = ClientLoop{TheServer(), request_}.StartNoise(tiny_.shape);
    const auto scheduler = SchedulerOf(request_.scheduler_json, request_.num_inference_steps);
    for (float& value : noise.values) value *= static_cast<float>(scheduler->init_noise_sigma());
    return noise;
  }

  const TinyDenoise tiny_{2};
  DenoiseRequest request_;
  int64_t steps_ = 0;
  std::string original_;
};

TEST_P(Steps, OneByOneAreTheLoop) {
  auto whole = Denoise(TheServer(), request_);
  const auto& result = whole->result.Wait();
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->steps, steps_);
  EXPECT_TRUE(result->state.empty());
  EXPECT_EQ(BytesOf(OneByOne(Start().values, 0)), result->sample.bytes);
  EXPECT_EQ(original_, result->pred_original_sample.bytes);
  // And as a client with inferences and a scheduler of its own would have it.
  ClientLoop client{TheServer(), request_};
  EXPECT_EQ(BytesOf(client.Run(Start(), 0, steps_)), result->sample.bytes);
}

TEST_P(Steps, MayBeginInTheMiddle) {
  const FloatTensor image = Ramp("image", tiny_.shape, 0.4f);
  DenoiseRequest part = request_;
  part.shape.clear();
  part.latents = image.Named().view;
  part.start_step = 3;
  auto rest = Denoise(TheServer(), part);
  const auto& result = rest->result.Wait();
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(BytesOf(OneByOne(image.values, 3)), result->sample.bytes);
}

TEST_P(Steps, AreFoundByTheirTimestep) {
  auto whole = Denoise(TheServer(), request_);
  ASSERT_TRUE(whole->result.Wait().ok());
  EXPECT_EQ(BytesOf(OneByOne(Start().values, 0, true)), whole->result.Wait()->sample.bytes);
}

TEST_P(Steps, PutBackWhatAMaskKeeps) {
  const FloatTensor image = Ramp("image", tiny_.shape, 0.4f);
  FloatTensor mask{"mask", {2, 1, 8, 8}, std::vector<float>(128, 0.25f)};
  request_.mask = mask.Named().view;
  request_.image_latents = image.Named().view;
  auto whole = Denoise(TheServer(), request_);
  const auto& result = whole->result.Wait();
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(BytesOf(OneByOne(Start().values, 0)), result->sample.bytes);
}

INSTANTIATE_TEST_SUITE_P(Schedulers, Steps, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

class StepErrors : public testing::Test {
 protected:
  std::string ErrorOf(StepRequest request) {
    const auto answer = Step(TheServer(), std::move(request));
    EXPECT_EQ(answer.status().code(), Code::kInvalidArgument) << answer.status().message();
    return answer.status().message();
  }

  const TinyDenoise tiny_{2};
  const std::vector<float> sample_ = Ramp("sample", tiny_.shape).values;
};

TEST_F(StepErrors, NameTheField) {
  const auto error = [&](const std::function<void(StepRequest&)>& change) {
    StepRequest request = StepOf(tiny_.Request(), 1, tiny_.shape, sample_, {});
    change(request);
    return ErrorOf(std::move(request));
  };
  EXPECT_EQ(error([](auto& r) { r.step_index = 4; }),
            "step_index: expected 0 to 3 (of the 4 steps that DDIMScheduler makes of "
            "num_inference_steps 4), got 4");
  EXPECT_NE(error([](auto& r) { r.step_index = -1; }).find("step_index: expected 0"),
            std::string::npos);
  EXPECT_EQ(error([](auto& r) {
              r.step_index = 0;
              r.timestep = 700;
            }),
            "timestep: expected one of the scheduler's 4, got 700; nearest: 749 (step 1), 499 "
            "(step 2)");
  EXPECT_EQ(error([](auto& r) { r.timestep = 749; }),
            "timestep: expected step_index or timestep, got both (1 and 749)");
  EXPECT_EQ(error([](auto& r) {
              r.step_index = 0;
              r.timestep = NAN;
            }),
            "timestep: expected a finite number, got nan");
  EXPECT_EQ(error([&](auto& r) {
              r.eta = 0.5;
              r.noise = tiny_.text.Named().view;
            }),
            "noise: expected floats [2,4,8,8], got FP32 [2,5,10]");
  EXPECT_EQ(error([](auto& r) {
              r.eta = 0.5;
              r.seeds.clear();
            }),
            "seeds: expected 2, one a row, got 0");
  EXPECT_NE(error([](auto& r) {
              r.sample.shape = {2, 4, 64};
            }).find("unexpected shape for input 'sample'"),
            std::string::npos);
  EXPECT_EQ(error([&](auto& r) { r.start_noise = r.sample; }),
            "start_noise: expected none, since latents are given");
}

TEST_F(StepErrors, GivenNoiseIsTheSeedsNoise) {
  StepRequest request = StepOf(tiny_.Request(), 1, tiny_.shape, sample_, {});
  request.eta = 0.5;
  const auto drawn = Step(TheServer(), request);
  std::vector<float> noise(sample_.size());
  for (size_t row = 0; row < 2; ++row) {
    FillNormal(request.seeds[row], StepStream(1), {noise.data() + row * 256, 256});
  }
  request.seeds.clear();
  request.noise = ViewOf(tiny_.shape, noise);
  const auto given = Step(TheServer(), request);
  ASSERT_TRUE(drawn.ok() && given.ok()) << given.status().message();
  EXPECT_EQ(drawn->sample.bytes, given->sample.bytes);
}

}  // namespace
}  // namespace unetd
