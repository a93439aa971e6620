// Denoising through the facade, on the reference backend.
#include <algorithm>
#include <cmath>

#include "server/diffusion/noise.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

class ServerDenoise : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = Loaded(TinySettings()).release(); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }
  std::string Sample(DenoiseRequest request) {
    auto recorder = Denoise(*server_, std::move(request));
    auto& result = recorder->result.Wait();
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? result->sample.bytes : "";
  }
  std::string ErrorOf(DenoiseRequest request, Code code = Code::kInvalidArgument) {
    auto recorder = Denoise(*server_, std::move(request));
    const auto& result = recorder->result.Wait();
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), code) << result.status().message();
    EXPECT_FALSE(recorder->accepted.has_value());
    EXPECT_EQ(recorder->result.count(), 1);
    return result.status().message();
  }
  static Server* server_;
};
Server* ServerDenoise::server_ = nullptr;

TEST_F(ServerDenoise, TellsItsProgress) {
  const TinyDenoise two(2);
  DenoiseRequest request = two.Request();
  request.id = "mine";
  request.num_inference_steps = 5;
  request.preview_every = 2;
  auto recorder = Denoise(*server_, request);
  const auto& result = recorder->result.Wait();
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_TRUE(recorder->accepted.has_value());
  EXPECT_EQ(recorder->accepted->variant, "plain");
  EXPECT_GT(recorder->accepted->plan_bytes, 0u);
  ASSERT_EQ(recorder->progress.size(), 5u);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(recorder->progress[i].step, i);
    EXPECT_EQ(recorder->progress[i].total, 5);
    EXPECT_EQ(recorder->progress[i].timestep, 999 - 200 * i);  // trailing
  }
  ASSERT_EQ(recorder->previews.size(), 2u);
  EXPECT_EQ(recorder->previews.begin()->first, 1);
  EXPECT_EQ(recorder->previews.begin()->second.shape, (Shape{2, 4, 8, 8}));
  EXPECT_EQ(result->id, "mine");
  EXPECT_EQ(result->steps, 5);
  EXPECT_EQ(result->sample.shape, (Shape{2, 4, 8, 8}));
  EXPECT_EQ(recorder->result.count(), 1);
  const ServerStats stats = server_->Stats();
  EXPECT_EQ(stats.domains[0].requests_bytes, 0u);
  EXPECT_EQ(stats.domains[0].running, 0u);
}

TEST_F(ServerDenoise, ARowIsTheSameAloneAndInABatch) {
  const TinyDenoise three(3);
  DenoiseRequest request = three.Request();
  request.eta = 0.5;
  const std::string together = Sample(request);
  for (int row = 0; row < 3; ++row) {
    TinyDenoise one(1);
    std::copy_n(three.text.values.begin() + row * 50, 50, one.text.values.begin());
    std::copy_n(three.other.values.begin() + row * 50, 50, one.other.values.begin());
    one.seeds = {three.seeds[row]};
    request = one.Request();
    request.eta = 0.5;
    EXPECT_EQ(Sample(request), together.substr(row * 1024, 1024)) << row;
  }
}

// 70 steps need their schedule blocks filled twice; parts of a loop need them filled elsewhere.
TEST_F(ServerDenoise, PartsMakeTheWhole) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  request.num_inference_steps = 70;
  request.eta = 0.3;
  request.use_clipped_model_output = true;
  const std::string whole = Sample(request);
  request.end_step = 33;
  const std::string half = Sample(request);
  EXPECT_NE(half, whole);
  request.end_step.reset();
  request.start_step = 33;
  request.shape.clear();
  request.latents = TensorView{DType::kFloat32, {1, 4, 8, 8}, half.data(), half.size()};
  EXPECT_EQ(Sample(request), whole);
}

TEST_F(ServerDenoise, GivenNoiseReplacesTheSeeds) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  request.eta = 1;
  const std::string drawn = Sample(request);
  std::vector<float> latents(256), noise(4 * 256);
  FillNormal(100, kLatentStream, latents);
  for (int step = 0; step < 4; ++step) {
    FillNormal(100, StepStream(step), {noise.data() + step * 256, 256});
  }
  request.seeds.clear();
  request.latents = TensorView{DType::kFloat32, {1, 4, 8, 8}, latents.data(), 1024};
  request.noise = TensorView{DType::kFloat32, {4, 1, 4, 8, 8}, noise.data(), 4096};
  EXPECT_EQ(Sample(request), drawn);
  noise[3] += 1;
  EXPECT_NE(Sample(request), drawn);
}

TEST_F(ServerDenoise, GuidanceIsOffAtOne) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  const std::string guided = Sample(request);
  request.guidance_scale = 1;
  const std::string with = Sample(request);
  request.negative_conditions.clear();
  EXPECT_EQ(Sample(request), with);
  EXPECT_NE(guided, with);
}

TEST_F(ServerDenoise, ARequestMayBringItsScheduler) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  const std::string own = Sample(request);
  request.scheduler_json = R"({"timestep_spacing": "leading"})";
  EXPECT_NE(Sample(request), own);
  request.scheduler_json = R"({"_class_name": "EDMEulerScheduler"})";
  EXPECT_TRUE(ErrorOf(request, Code::kUnimplemented)
                  .starts_with("scheduler_json: scheduler 'EDMEulerScheduler' is not built"));
  request.scheduler_json = R"({"beta_schedule": "cubic"})";
  EXPECT_NE(ErrorOf(request).find("scheduler_json: scheduler config: beta_schedule"),
            std::string::npos);
  request.scheduler_json.clear();
  request.model = "bare";
  EXPECT_EQ(ErrorOf(request, Code::kFailedPrecondition),
            "model 'bare' has no scheduler config: send scheduler_json, or give the model a "
            "scheduler");
  request.scheduler_json = "{}";
  EXPECT_FALSE(Sample(request).empty());
}

TEST_F(ServerDenoise, BadRequestsAreNamed) {
  const TinyDenoise two(2);
  const auto error = [&](const std::function<void(DenoiseRequest&)>& change) {
    DenoiseRequest request = two.Request();
    change(request);
    return ErrorOf(std::move(request));
  };
  EXPECT_EQ(error([](auto& r) {
              r.num_inference_steps = 0;
              r.end_step = 1;
            }),
            "num_inference_steps: expected 1 to 1000 (the scheduler's num_train_timesteps), got 0");
  EXPECT_EQ(error([](auto& r) { r.num_inference_steps = 1001; }),
            "num_inference_steps: expected 1 to 1000 (the scheduler's num_train_timesteps), got "
            "1001");
  EXPECT_EQ(error([](auto& r) { r.end_step = 5; }),
            "end_step: expected 1 to 4 (num_inference_steps), got 5");
  EXPECT_EQ(error([](auto& r) { r.start_step = 4; }),
            "start_step: expected 0 to 3 (before end_step), got 4");
  EXPECT_EQ(error([](auto& r) { r.eta = 1.5; }), "eta: expected a number from 0 to 1, got 1.5");
  EXPECT_EQ(error([](auto& r) { r.guidance_scale = NAN; }),
            "guidance_scale: expected a number from -1000000 to 1000000, got nan");
  EXPECT_EQ(error([](auto& r) { r.preview_every = -1; }),
            "preview_every: expected 0 or more steps, got -1");
  EXPECT_EQ(error([](auto& r) { r.seeds.pop_back(); }), "seeds: expected 2, one a row, got 1");
  EXPECT_EQ(error([](auto& r) { r.shape.clear(); }),
            "latents: expected latents, image_latents, or shape and seeds, got none");
  EXPECT_NE(error([](auto& r) { r.shape[1] = 3; }).find("unexpected shape for input 'sample'"),
            std::string::npos);
  EXPECT_EQ(error([](auto& r) { r.negative_conditions.clear(); }),
            "negative_conditions: missing 'encoder_hidden_states': expected the names and shapes "
            "of conditions, since guidance_scale is above 1");
  const FloatTensor longer = Ramp("encoder_hidden_states", {2, 6, 10});
  EXPECT_NE(error([&](auto& r) {
              r.negative_conditions[1] = longer.Named();
            }).find("expected shape [2,5,10] as in conditions, got [2,6,10]"),
            std::string::npos);
  const FloatTensor sample = Ramp("sample", {2, 4, 8, 8});
  EXPECT_EQ(error([&](auto& r) { r.conditions.push_back(sample.Named()); }),
            "'sample' is no condition: the loop itself gives it");
  EXPECT_EQ(error([&](auto& r) { r.noise = sample.Named().view; }),
            "noise: expected none, since DDIMScheduler adds none here");
  EXPECT_NE(error([&](auto& r) {
              r.eta = 1;
              r.noise = sample.Named().view;
            }).find("noise: expected floats [4,2,4,8,8]"),
            std::string::npos);
  EXPECT_EQ(error([&](auto& r) {
              r.latents = sample.Named().view;
              r.shape = {1, 4, 8, 8};
            }),
            "shape: expected nothing or the latents' [2,4,8,8], got [1,4,8,8]");
}

TEST_F(ServerDenoise, AShapeThatNeedsTooMuchIsRefusedBeforeItIsBuilt) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  request.shape = {1, 4, 2048, 2048};
  const uint64_t plans = server_->Stats().plans_cached;
  EXPECT_NE(ErrorOf(request, Code::kResourceExhausted).find("server.limits.memory_mib"),
            std::string::npos);
  EXPECT_EQ(server_->Stats().plans_cached, plans);
  EXPECT_EQ(server_->Stats().domains[0].requests_bytes, 0u);
}

TEST_F(ServerDenoise, CancelledIsStopped) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  request.num_inference_steps = 1000;
  auto recorder = std::make_shared<Recorder>();
  Gate third;
  recorder->on_progress = [&](const DenoiseProgress& p) {
    if (p.step == 2) third.Open();
  };
  auto handle = server_->Denoise(request, recorder);
  ASSERT_TRUE(third.WaitLong());
  handle->Cancel();
  const auto& result = recorder->result.Wait();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), Code::kCancelled);
  EXPECT_LT(recorder->progress.size(), 1000u);
  EXPECT_EQ(server_->Stats().domains[0].requests_bytes, 0u);
}

TEST_F(ServerDenoise, ADeadlineStopsARunningLoop) {
  const TinyDenoise one;
  DenoiseRequest request = one.Request();
  request.num_inference_steps = 1000;
  request.deadline = Clock::now() + std::chrono::milliseconds(100);
  auto recorder = Denoise(*server_, request);
  EXPECT_EQ(recorder->result.Wait().status().code(), Code::kDeadlineExceeded);
}

}  // namespace
}  // namespace unetd
