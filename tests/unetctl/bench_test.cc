// `unetctl bench`: the load, its figures and the inputs that it makes up.
#include "client/unetctl/bench.h"

#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "client/unetctl/bench_report.h"
#include "client/unetctl/interrupt.h"
#include "client/unetctl/server_times.h"
#include "client/unetctl/synthetic.h"
#include "client/unetctl/tensor_file.h"
#include "tests/unetctl/fake_server.h"

namespace unetd::unetctl {
namespace {

// The report of a bench, which may fail.
nlohmann::json Benched(const FakeServer& server, BenchOptions options, Outcome* failure) {
  options.json = true;
  options.progress.shown = false;
  testing::internal::CaptureStdout();
  *failure = Bench(server.Connect(), options);
  return nlohmann::json::parse(testing::internal::GetCapturedStdout(), nullptr, false);
}

TEST(Percentile, IsTheValueAtItsRank) {
  std::vector<double> values;
  for (int i = 1; i <= 100; ++i) values.push_back(i);
  EXPECT_EQ(Percentile(values, 0.50), 50);
  EXPECT_EQ(Percentile(values, 0.95), 95);
  EXPECT_EQ(Percentile(values, 0.99), 99);
  const std::vector<double> few = {1, 2, 3};
  EXPECT_EQ(Percentile(few, 0.50), 2);
  EXPECT_EQ(Percentile(few, 0.99), 3);
  EXPECT_EQ(Percentile(std::vector<double>{7}, 0.01), 7);
}

TEST(Load, SendsAsManyAsAskedAndCountsErrors) {
  std::atomic<int> sent = 0;
  std::atomic<int> made = 0;
  const CallMaker maker = [&]() -> Call {
    ++made;
    return [&](grpc::ClientContext&) -> grpc::Status {
      if (++sent % 5 == 0) return {grpc::StatusCode::UNAVAILABLE, "gone\n"};
      return grpc::Status::OK;
    };
  };
  LoadPlan plan;
  plan.clients = 3;
  plan.requests = 20;
  const LoadResult result = RunLoad(plan, maker, {});
  EXPECT_EQ(made, 3);
  EXPECT_EQ(sent, 20);
  EXPECT_EQ(result.ms.size(), 16U);
  EXPECT_EQ(result.errors, 4);
  EXPECT_EQ(result.first_error, "UNAVAILABLE: gone\\x0a");
  EXPECT_GT(result.seconds, 0);
}

TEST(Load, EndsByTheClock) {
  const CallMaker maker = []() -> Call {
    return [](grpc::ClientContext&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return grpc::Status::OK;
    };
  };
  LoadPlan plan;
  plan.clients = 2;
  plan.duration_s = 0.05;
  EXPECT_GT(RunLoad(plan, maker, {}).ms.size(), 0U);
}

TEST(Bench, SweepsAndReports) {
  const FakeServer server;
  BenchOptions options;
  options.concurrency = {1, 3};
  options.requests = 12;
  options.warmup = 1;
  options.rows = 2;
  options.size = "4x4";
  Outcome failure;
  const auto report = Benched(server, options, &failure);
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(server.inferences, 12 + 12 + 1 + 3);
  EXPECT_EQ(report["kind"], "infer");
  EXPECT_EQ(report["unit"], "rows/s");
  EXPECT_EQ(report["size"], (std::vector<int>{4, 4}));
  ASSERT_EQ(report["levels"].size(), 2U);
  const auto& level = report["levels"][1];
  EXPECT_EQ(level["concurrency"], 3);
  EXPECT_EQ(level["requests"], 12);
  EXPECT_DOUBLE_EQ(level["throughput"].get<double>(), 2 * level["requests_per_s"].get<double>());
  EXPECT_LE(level["latency_ms"]["p50"].get<double>(), level["latency_ms"]["max"].get<double>());
  EXPECT_FALSE(report["interrupted"].get<bool>());
}

TEST(Bench, ErrorsAreCountedAndNamed) {
  FakeServer server;
  server.fail_every = 4;
  BenchOptions options;
  options.concurrency = {2};
  options.requests = 8;
  options.warmup = 0;
  Outcome failure;
  const auto report = Benched(server, options, &failure);
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(report["levels"][0]["errors"], 2);
  EXPECT_EQ(report["levels"][0]["requests"], 6);
  EXPECT_EQ(report["levels"][0]["first_error"], "RESOURCE_EXHAUSTED: the queue is full");
}

TEST(Bench, NothingButErrorsIsAFailure) {
  FakeServer server;
  server.fail_every = 1;
  BenchOptions options;
  options.concurrency = {1};
  options.requests = 3;
  Outcome failure;
  Benched(server, options, &failure);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitServer);
  EXPECT_EQ(failure->text, "RESOURCE_EXHAUSTED: the queue is full");
  options.warmup = 0;
  const auto report = Benched(server, options, &failure);
  ASSERT_TRUE(failure);
  EXPECT_TRUE(report["levels"][0]["latency_ms"].is_null());
}

TEST(Bench, AnInterruptCancelsAndReports) {
  FakeServer server;
  server.slow = true;
  BenchOptions options;
  options.concurrency = {2, 4};
  options.requests = 100;
  options.warmup = 0;
  std::thread finger([&] {
    while (server.inferences < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::raise(SIGINT);
  });
  Outcome failure;
  const auto report = Benched(server, options, &failure);
  finger.join();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitInterrupted);
  EXPECT_TRUE(report["interrupted"].get<bool>());
  ASSERT_EQ(report["levels"].size(), 1U);  // the second never began
  EXPECT_EQ(report["levels"][0]["requests"], 0);
  EXPECT_EQ(report["levels"][0]["errors"], 0);
}

TEST(Bench, DenoisesAndSteps) {
  const FakeServer server;
  BenchOptions options;
  options.concurrency = {1};
  options.requests = 2;
  options.rows = 2;
  options.loop.steps = 3;
  options.loop.guidance = 2;
  for (const char* kind : {"denoise", "step"}) {
    options.kind = kind;
    Outcome failure;
    const auto report = Benched(server, options, &failure);
    ASSERT_FALSE(failure) << failure->text;
    EXPECT_EQ(report["unit"], "row steps/s");
    EXPECT_EQ(report["levels"][0]["requests"], 2);
  }
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_EQ(Shape(requests[0].shape().begin(), requests[0].shape().end()), (Shape{2, 1, 2, 2}));
  ASSERT_EQ(requests[0].conditions_size(), 1);  // neither sample nor timestep
  EXPECT_EQ(requests[0].conditions(0).name(), "encoder_hidden_states");
  EXPECT_EQ(requests[0].negative_conditions_size(), 1);
}

TEST(Bench, RefusesALoopForInferences) {
  const FakeServer server;
  BenchOptions options;
  options.loop_given = true;
  Outcome failure;
  Benched(server, options, &failure);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitUsage);
  EXPECT_EQ(server.inferences, 0);
}

TEST(Synthetic, FillsWhatTheModelNeeds) {
  FakeServer server;
  inference::ModelConfigResponse config;
  ASSERT_TRUE(server.ModelConfig(nullptr, nullptr, &config).ok());
  const auto tensors = SyntheticInputs(config.config(), {3, 8, 6, 5});
  ASSERT_TRUE(tensors.ok()) << tensors.status().message();
  ASSERT_EQ(tensors->size(), 3U);
  const v1::Tensor& sample = tensors->at("sample");
  EXPECT_EQ(sample.datatype(), "FP16");
  EXPECT_EQ(Shape(sample.shape().begin(), sample.shape().end()), (Shape{3, 1, 8, 6}));
  const v1::Tensor& text = tensors->at("encoder_hidden_states");
  EXPECT_EQ(Shape(text.shape().begin(), text.shape().end()), (Shape{3, 5, 8}));
  EXPECT_EQ(tensors->at("timestep").shape_size(), 1);
  for (const auto& [name, tensor] : *tensors) EXPECT_TRUE(FromWire(tensor).ok()) << name;
  config.mutable_config()->mutable_input(0)->set_data_type(inference::TYPE_STRING);
  EXPECT_FALSE(SyntheticInputs(config.config(), {}).ok());
}

TEST(ServerTimes, AreOfTheOnlyRequestAndOfAllForwards) {
  inference::ModelStatistics before, after;
  before.mutable_inference_stats()->mutable_success()->set_count(3);
  after.mutable_inference_stats()->mutable_success()->set_count(4);
  before.mutable_inference_stats()->mutable_queue()->set_ns(1'000'000);
  after.mutable_inference_stats()->mutable_queue()->set_ns(3'500'000);
  auto& batch = *after.add_batch_stats();
  batch.set_batch_size(4);
  batch.mutable_compute_infer()->set_count(3);
  auto& single = *after.add_batch_stats();
  single.set_batch_size(1);
  single.mutable_compute_infer()->set_count(1);
  *before.add_batch_stats() = single;
  const ServerTimes times = TimesBetween(before, after);
  EXPECT_EQ(times.queue_ms, 2.5);
  EXPECT_EQ(times.rows_per_forward, 4);
  after.mutable_inference_stats()->mutable_success()->set_count(5);
  EXPECT_FALSE(TimesBetween(before, after).queue_ms);
  EXPECT_FALSE(TimesBetween(after, after).rows_per_forward);
}

}  // namespace
}  // namespace unetd::unetctl
