// Loading, what a server tells about itself, and stopping.
#include <filesystem>
#include <fstream>

#include "server/serving/check.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

std::string LoadError(const Settings& settings) {
  auto server = Server::Create(settings, "");
  const Status status = server->Load();
  EXPECT_FALSE(status.ok());
  EXPECT_FALSE(server->ready());
  return status.message();
}

TEST(ServerLoad, IsNotReadyBefore) {
  auto server = Server::Create(TinySettings(), "");
  EXPECT_TRUE(server->live());
  EXPECT_FALSE(server->ready());
  EXPECT_EQ(server->CheckModel("labels", "").code(), Code::kUnavailable);
  EXPECT_EQ(server->CheckModel("nobody", "").code(), Code::kNotFound);
  EXPECT_TRUE(server->ListModels().empty());
  const TinyInfer one;
  EXPECT_EQ(Infer(*server, one.Request()).status().code(), Code::kUnavailable);
  ASSERT_TRUE(server->Load().ok());
  EXPECT_TRUE(server->ready());
  EXPECT_TRUE(server->CheckModel("labels", "1").ok());
  EXPECT_TRUE(Infer(*server, one.Request()).ok());
}

TEST(ServerLoad, DescribesModels) {
  auto server = Loaded(TinySettings());
  const auto info = server->Model("labels", "");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->max_batch, 4);
  EXPECT_EQ(info->dtype, "float32");
  EXPECT_EQ(info->scheduler, "DDIMScheduler");
  ASSERT_GE(info->inputs.size(), 4u);
  EXPECT_EQ(info->inputs[0].name, "sample");
  EXPECT_EQ(info->inputs[0].shape, (Shape{-1, 4, -1, -1}));
  EXPECT_FALSE(info->inputs[0].optional);
  EXPECT_EQ(info->outputs[0].name, "out_sample");
  ASSERT_EQ(info->variants.size(), 2u);
  EXPECT_DOUBLE_EQ(info->variants[0].share, 0.75);
  EXPECT_NE(info->variants[0].fingerprint, info->variants[1].fingerprint);
  EXPECT_GT(info->parameters, 1000u);
  EXPECT_EQ(server->Model("bare", "")->scheduler, "");

  const auto model = server->DescribeModel("labels");
  ASSERT_TRUE(model.ok());
  ASSERT_FALSE(model->layers.empty());
  for (const LayerInfo& layer : model->layers) {
    ASSERT_EQ(layer.bound.size(), 2u);
    EXPECT_EQ(layer.kind, layer.name.ends_with("attn1") ? "self" : "cross");
    EXPECT_FALSE(layer.legal.empty());
    EXPECT_EQ(layer.bound[0].processor, "AttnProcessor2_0");
    EXPECT_EQ(layer.bound[0].rule, "default");
    EXPECT_EQ(layer.bound[0].backend, "reference");
    const bool sliced = layer.kind == "self";
    EXPECT_EQ(layer.bound[1].processor, sliced ? "SlicedAttnProcessor" : "AttnProcessor2_0");
    EXPECT_EQ(layer.bound[1].rule, sliced ? "models[0].variants[1].processors[0]" : "default");
    EXPECT_EQ(layer.bound[1].options, sliced ? "slice_size=1" : "");
    EXPECT_EQ(layer.bound[1].algorithm, sliced ? "sliced" : "sdpa");
  }
  EXPECT_EQ(model->plans.size(), 2u);
}

TEST(ServerLoad, CheckTextSaysWhatIsBoundAndByWhat) {
  auto server = Loaded(TinySettings());
  const std::string text = CheckText(*server);
  for (const char* part :
       {"model 'labels'", "model 'bare'", "variant 'plain': 75.0 %", "SlicedAttnProcessor",
        "(slice_size=1)", "by models[0].variants[1].processors[0]", "by default",
        "scheduler: DDIMScheduler", "scheduler: none", "on reference", "packed weights"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(ServerLoad, VariantsShareTheirWeights) {
  Settings one = TinySettings(), two = TinySettings();
  one.models.resize(1);
  one.models[0].variants.resize(1);
  two.models.resize(1);
  const uint64_t alone = Loaded(one)->Stats().domains[0].weights_bytes;
  EXPECT_EQ(Loaded(two)->Stats().domains[0].weights_bytes, alone);
  EXPECT_GT(alone, 0u);
}

// The schedule of all steps is computed in parts: it needs no larger arena than a step.
TEST(ServerLoad, ALongLoopNeedsNoMoreMemoryThanItSays) {
  auto server = Loaded(TinySettings());
  const TinyDenoise denoise;
  DenoiseRequest request = denoise.Request();
  request.num_inference_steps = 100;
  auto recorder = Denoise(*server, request);
  ASSERT_TRUE(recorder->result.Wait().ok());
  EXPECT_LE(server->Stats().domains[0].arena_bytes, recorder->accepted->plan_bytes);
}

TEST(ServerLoad, ErrorsNamePathLayerAndReason) {
  Settings settings = TinySettings();
  settings.models[1].path = Golden("unet/nothing_here");
  EXPECT_TRUE(LoadError(settings).starts_with("models[1]: ")) << LoadError(settings);

  settings = TinySettings();
  settings.models[0].backend = "cuda9";
  EXPECT_TRUE(LoadError(settings).starts_with("models[0].backend: ")) << LoadError(settings);

  settings = TinySettings();
  settings.models[0].variants[1].processors[0].layers = "no_such.*";
  EXPECT_TRUE(LoadError(settings).starts_with("models[0].variants[1].processors[0]"))
      << LoadError(settings);

  settings = TinySettings();
  settings.models[0].scheduler = Golden("unet/nothing_here");
  EXPECT_NE(LoadError(settings).find("nothing_here"), std::string::npos);

  settings = TinySettings();
  settings.models[0].scheduler = std::filesystem::path(testing::TempDir()) / "unetd_empty.json";
  std::ofstream(settings.models[0].scheduler).flush();
  EXPECT_NE(LoadError(settings).find("the file is empty"), std::string::npos)
      << LoadError(settings);

  settings = TinySettings();
  settings.server.limits.memory_mib = 1;
  settings.models[0].shapes = {{64, 64}};
  EXPECT_NE(LoadError(settings).find("memory_mib"), std::string::npos) << LoadError(settings);
}

TEST(ServerLoad, ASchedulerThatIsNotBuiltDoesNotHinderInference) {
  const auto file = std::filesystem::path(testing::TempDir()) / "unetd_deis.json";
  std::ofstream(file) << R"({"_class_name": "DEISMultistepScheduler", "beta_start": 0.001})";
  Settings settings = TinySettings();
  settings.models.resize(1);
  settings.models[0].scheduler = file;
  auto server = Loaded(settings);
  EXPECT_EQ(server->Model("labels", "")->scheduler, "DEISMultistepScheduler");
  const TinyInfer one;
  EXPECT_TRUE(Infer(*server, one.Request()).ok());
  const TinyDenoise denoise;
  DenoiseRequest request = denoise.Request();
  EXPECT_TRUE(Denoise(*server, request)
                  ->result.Wait()
                  .status()
                  .message()
                  .starts_with("scheduler 'DEISMultistepScheduler' is not built; built: DDIM"));
  request.scheduler_json = R"({"_class_name": "DDIMScheduler"})";
  EXPECT_TRUE(Denoise(*server, request)->result.Wait().ok());

  std::ofstream(file) << R"({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"})";
  EXPECT_NE(LoadError(settings).find("beta_schedule: expected one of"), std::string::npos);
  std::filesystem::remove(file);
}

TEST(ServerLoad, DrainingLetsRunningLoopsEnd) {
  auto server = Loaded(TinySettings());
  const TinyDenoise denoise;
  DenoiseRequest request = denoise.Request();
  request.num_inference_steps = 20;
  auto recorder = std::make_shared<Recorder>();
  server->Denoise(request, recorder);
  EXPECT_TRUE(server->Drain(60));
  EXPECT_FALSE(server->ready());
  EXPECT_TRUE(server->live());
  EXPECT_EQ(recorder->result.count(), 1);
  EXPECT_TRUE(recorder->result.Wait().ok());
  const TinyInfer one;
  EXPECT_EQ(Infer(*server, one.Request()).status().code(), Code::kUnavailable);
  EXPECT_EQ(server->CheckModel("labels", "").code(), Code::kUnavailable);
  EXPECT_EQ(server->Stats().domains[0].requests_bytes, 0u);
}

TEST(ServerLoad, DrainingStopsWhatTakesTooLong) {
  auto server = Loaded(TinySettings());
  const TinyDenoise denoise;
  DenoiseRequest request = denoise.Request();
  request.num_inference_steps = 1000;
  auto recorder = std::make_shared<Recorder>();
  Gate begun;
  recorder->on_progress = [&](const DenoiseProgress&) { begun.Open(); };
  server->Denoise(request, recorder);
  ASSERT_TRUE(begun.WaitLong());
  EXPECT_FALSE(server->Drain(0));
  EXPECT_EQ(recorder->result.Wait().status().code(), Code::kUnavailable);
}

// Interleaved loops, inferences, cancels and readers; for the thread sanitizer too.
TEST(ServerLoad, ManyCallersAtOnce) {
  Settings settings = TinySettings();
  settings.server.limits.queue = 64;
  auto server = Loaded(settings);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  const TinyInfer infer;
  const auto want = Infer(*server, infer.Request());
  ASSERT_TRUE(want.ok());
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 6; ++i) {
        const TinyDenoise denoise;
        DenoiseRequest request = denoise.Request();
        request.num_inference_steps = 3;
        auto recorder = std::make_shared<Recorder>();
        auto handle = server->Denoise(request, recorder);
        const auto got = Infer(*server, infer.Request());
        wrong += !got.ok() || got->outputs[0].bytes != want->outputs[0].bytes;
        if ((i + t) % 3 == 0) handle->Cancel();
        (void)server->Stats();
        (void)recorder->result.Wait();
        wrong += recorder->result.count() != 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const ServerStats stats = server->Stats();
  EXPECT_EQ(stats.domains[0].requests_bytes, 0u);
  EXPECT_EQ(stats.domains[0].queued + stats.domains[0].running, 0u);
}

}  // namespace
}  // namespace unetd
