// Requests that share forwards, through the facade: the bits are those that each has alone.
#include <atomic>
#include <thread>

#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

Settings Batching(int64_t max_batch) {
  Settings settings = TinySettings();
  settings.server.limits.queue = 64;
  for (ModelSettings& model : settings.models) model.dynamic_batching.max_batch = max_batch;
  return settings;
}

VariantStats Of(const Server& server, const std::string& variant) {
  for (const VariantStats& stats : server.Stats().variants) {
    if (stats.model == "labels" && stats.variant == variant) return stats;
  }
  return {};
}

// Forwards that more than one request shared.
uint64_t Shared(const VariantStats& stats) {
  uint64_t shared = 0;
  for (size_t i = 1; i < stats.batch_requests.counts.size(); ++i) {
    shared += stats.batch_requests.counts[i];
  }
  return shared;
}

uint64_t Sum(const std::vector<uint64_t>& counts) {
  uint64_t sum = 0;
  for (const uint64_t count : counts) sum += count;
  return sum;
}

// Some loop or inference, by number, and its result's bytes.
struct Call {
  explicit Call(int number) : number(number), denoise(1 + number % 2, 5), infer(1 + number % 3, 5) {
    for (uint64_t& seed : denoise.seeds) seed += static_cast<uint64_t>(number) * 10;
    infer.timestep = 10 * number;
    infer.sample = Ramp("sample", infer.sample.shape, static_cast<float>(number));
  }
  bool IsLoop() const { return number % 3 != 2; }
  DenoiseRequest Loop() const {
    DenoiseRequest request = denoise.Request();
    request.num_inference_steps = 3 + number % 5;
    request.eta = number % 2;
    request.guidance_scale = number % 4 == 0 ? 1 : 2.5;
    if (request.guidance_scale == 1) request.negative_conditions.clear();
    request.priority = static_cast<uint64_t>(number) % 5;
    return request;
  }
  std::string Alone(Server& server) const {
    if (!IsLoop()) return Infer(server, infer.Request())->outputs[0].bytes;
    return Denoise(server, Loop())->result.Wait()->sample.bytes;
  }

  const int number;
  TinyDenoise denoise;
  TinyInfer infer;
};

class SharedForwards : public testing::Test {
 protected:
  void SetUp() override { server_ = Loaded(Batching(8)); }
  // Holds the worker until it is destroyed.
  struct Hold {
    explicit Hold(Server& server) : recorder(std::make_shared<Recorder>()) {
      recorder->on_progress = [this](const DenoiseProgress&) {
        held.Open();
        gate.Wait();
      };
      DenoiseRequest request = loop.Request();
      request.num_inference_steps = 1;
      server.Denoise(std::move(request), recorder);
      EXPECT_TRUE(held.WaitLong());
    }
    ~Hold() {
      gate.Open();
      recorder->result.Wait();
    }
    const TinyDenoise loop;
    Gate held, gate;
    std::shared_ptr<Recorder> recorder;
  };

  std::unique_ptr<Server> server_;
};

TEST_F(SharedForwards, TheBitsAreThoseAloneUnderMixedTrafficAndCancellations) {
  constexpr int kCalls = 24;
  std::vector<Call> calls;
  std::vector<std::string> alone;
  const auto single = Loaded(Batching(1));
  for (int i = 0; i < kCalls; ++i) {
    calls.emplace_back(i);
    alone.push_back(calls[i].Alone(*single));
  }
  EXPECT_EQ(Shared(Of(*single, "plain")), 0u);
  const uint64_t arena = server_->Stats().domains[0].arena_bytes;

  std::vector<std::shared_ptr<Recorder>> loops(kCalls), stopped;
  std::vector<Answer<InferResult>> inferences(kCalls);
  std::vector<std::shared_ptr<CallHandle>> handles;
  {
    const Hold hold(*server_);
    for (int i = 0; i < kCalls; ++i) {
      if (calls[i].IsLoop()) {
        loops[i] = std::make_shared<Recorder>();
        server_->Denoise(calls[i].Loop(), loops[i]);
      } else {
        server_->Infer(calls[i].infer.Request(),
                       [&answer = inferences[i]](auto result) { answer.Set(std::move(result)); });
      }
      if (i % 4 != 0) continue;
      // A neighbour that is cancelled at its second step, from the worker itself.
      stopped.push_back(std::make_shared<Recorder>());
      DenoiseRequest request = calls[1].Loop();
      request.num_inference_steps = 500;
      const size_t index = handles.size();
      stopped.back()->on_progress = [&handles, index](const DenoiseProgress& progress) {
        if (progress.step == 1) handles[index]->Cancel();
      };
      handles.push_back(server_->Denoise(std::move(request), stopped.back()));
    }
  }
  for (int i = 0; i < kCalls; ++i) {
    if (calls[i].IsLoop()) {
      const auto& result = loops[i]->result.Wait();
      ASSERT_TRUE(result.ok()) << i << ": " << result.status().message();
      EXPECT_EQ(result->sample.bytes, alone[i]) << i;
    } else {
      const auto& result = inferences[i].Wait();
      ASSERT_TRUE(result.ok()) << i << ": " << result.status().message();
      EXPECT_EQ(result->outputs[0].bytes, alone[i]) << i;
    }
  }
  for (const auto& recorder : stopped) {
    EXPECT_EQ(recorder->result.Wait().status().code(), Code::kCancelled);
    EXPECT_EQ(recorder->progress.size(), 2u);
  }
  const VariantStats stats = Of(*server_, "plain");
  EXPECT_GT(Shared(stats), 0u);
  EXPECT_EQ(stats.queued + stats.running, 0u);
  EXPECT_EQ(server_->Stats().domains[0].requests_bytes, 0u);
  EXPECT_EQ(server_->Stats().domains[0].arena_bytes, arena);  // strangers took no more
}

TEST_F(SharedForwards, AForwardThatIsSharedCountsOnce) {
  const TinyDenoise two(2);  // four rows with guidance
  const TinyInfer one(1);
  const VariantStats before = Of(*server_, "plain");
  std::vector<std::shared_ptr<Recorder>> loops;
  std::vector<Answer<InferResult>> inferences(2);
  {
    const Hold hold(*server_);
    loops.push_back(std::make_shared<Recorder>());
    server_->Denoise(two.Request(), loops.back());
    for (auto& answer : inferences) {
      server_->Infer(one.Request(), [&answer](auto result) { answer.Set(std::move(result)); });
    }
    const VariantStats now = Of(*server_, "plain");
    EXPECT_EQ(now.queued, 3u);
    EXPECT_EQ(now.running, 1u);
  }
  EXPECT_TRUE(loops[0]->result.Wait().ok());
  for (auto& answer : inferences) EXPECT_TRUE(answer.Wait().ok());
  const VariantStats after = Of(*server_, "plain");
  // The holder's forward of two rows, one of 4 + 1 + 1, and three of the loop's four rows.
  EXPECT_EQ(after.execution_count - before.execution_count, 5u);
  EXPECT_EQ(Shared(after), 1u);
  EXPECT_EQ(after.batches.at(6).compute_infer.count, 1u);
  EXPECT_EQ(after.batches.at(4).compute_infer.count, 3u);
  EXPECT_EQ(after.batches.at(2).compute_infer.count, 1u);
  EXPECT_GT(after.batches.at(6).compute_output.ns, 0u);
  EXPECT_EQ(after.batch_rows.sum, 2 + 6 + 3 * 4);
  EXPECT_EQ(Sum(after.batch_rows.counts), after.execution_count);
  EXPECT_EQ(after.inference_count - before.inference_count, 1u + 2 + 1 + 1);
  EXPECT_EQ(after.denoise_steps - before.denoise_steps, 5u);
  EXPECT_EQ(after.success.count - before.success.count, 4u);
}

TEST_F(SharedForwards, OtherVariantsAndShapesFlyApart) {
  const TinyInfer one(1), longer(1, 7);
  std::vector<Answer<InferResult>> answers(3);
  {
    const Hold hold(*server_);
    std::vector<InferRequest> requests = {one.Request(), one.Request(), longer.Request()};
    requests[1].variant = "sliced";
    // Another shape is built on another thread; it may come later than the hold lasts.
    for (size_t i = 0; i < requests.size(); ++i) {
      server_->Infer(std::move(requests[i]),
                     [&answer = answers[i]](auto result) { answer.Set(std::move(result)); });
    }
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.Wait().ok());
  EXPECT_EQ(Shared(Of(*server_, "plain")), 0u);
  EXPECT_EQ(Shared(Of(*server_, "sliced")), 0u);
}

TEST(Batching, RowsThatSeeOneAnotherMeetNoStrangers) {
  Settings settings = Batching(8);
  ProcessorRule frames;
  frames.layers = "*.attn1";
  frames.processor = "CrossFrameAttnProcessor";
  frames.options = {{"batch_size", OptionValue(int64_t{2})}};
  frames.json_path = "models[0].variants[0].processors[0]";
  settings.models.resize(1);
  settings.models[0].variants[0].processors = {frames};
  const auto server = Loaded(std::move(settings));
  const TinyDenoise two(2);
  std::vector<std::shared_ptr<Recorder>> loops;
  for (int i = 0; i < 4; ++i) {
    loops.push_back(std::make_shared<Recorder>());
    server->Denoise(two.Request(), loops.back());
  }
  for (auto& loop : loops) {
    ASSERT_TRUE(loop->result.Wait().ok()) << loop->result.Wait().status().message();
    EXPECT_EQ(loop->result.Wait()->sample.bytes, loops[0]->result.Wait()->sample.bytes);
  }
  EXPECT_EQ(Shared(Of(*server, "plain")), 0u);
  EXPECT_EQ(Of(*server, "plain").execution_count, 16u);
}

TEST(Batching, MemoryForItIsTakenAtTheStartAsFarAsItIsThere) {
  const uint64_t one = Loaded(Batching(1))->Stats().domains[0].arena_bytes;
  const uint64_t many = Loaded(Batching(256))->Stats().domains[0].arena_bytes;
  EXPECT_GT(many, 20 * one);
  Settings tight = Batching(1024);
  tight.server.limits.memory_mib = 6;
  const auto server = Loaded(std::move(tight));
  const DomainStats stats = server->Stats().domains[0];
  EXPECT_GT(stats.arena_bytes, one);
  // As much is left for blocks as a request of the arena's rows takes.
  EXPECT_LT(stats.arena_bytes + stats.weights_bytes + stats.plans_bytes, stats.memory_limit);
  const TinyInfer two(2);
  EXPECT_TRUE(Infer(*server, two.Request()).ok());  // as alone
}

// For the thread sanitizer: callers, cancellations and statistics from many threads.
TEST(Batching, ManyThreads) {
  const auto server = Loaded(Batching(8));
  const TinyDenoise one;
  const std::string alone = Denoise(*server, one.Request())->result.Wait()->sample.bytes;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 6; ++i) {
        auto recorder = std::make_shared<Recorder>();
        auto handle = server->Denoise(one.Request(), recorder);
        if ((t + i) % 3 == 0) handle->Cancel();
        (void)server->Stats();
        const auto& result = recorder->result.Wait();
        if (result.ok() ? result->sample.bytes != alone
                        : result.status().code() != Code::kCancelled) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace unetd
