// unetctl against a server: groups, variants, what goes over the wire, and failures.
#include "client/unetctl/run.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "client/unetctl/denoise.h"
#include "client/unetctl/inspect.h"
#include "client/unetctl/report.h"
#include "server/weights/safetensors.h"
#include "tests/unetctl/fake_server.h"

namespace unetd::unetctl {
namespace {

Job FiveRows() {
  Job job;
  job.model = "digits";
  job.id = "same";
  job.prompts = {"0", "1", "2", "3", "4"};
  job.row_shape = {1, 2, 2};
  job.max_rows = 2;
  job.seed = 7;
  job.loop.steps = 3;
  return job;
}

TEST(Run, SplitsIntoRequestsAndJoinsTheRows) {
  const FakeServer server;
  int accepted = 0;
  int steps = 0;
  VariantRun run;
  const Outcome failure =
      RunVariant(server.Connect(), FiveRows(), nullptr, "sliced",
                 {[&](const std::string&) { ++accepted; }, [&](int64_t) { ++steps; }, {}}, &run);
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(run.variant, "sliced");
  EXPECT_EQ(run.requests, 3);
  EXPECT_EQ(run.steps, 3);
  EXPECT_EQ(run.plan_bytes, 2'000'000U);           // of the largest request, not of all
  EXPECT_DOUBLE_EQ(run.MillisecondsPerStep(), 9);  // three requests of 3 ms a step
  EXPECT_EQ(accepted, 3);
  EXPECT_EQ(steps, 9);
  EXPECT_EQ(StepsInAll(FiveRows()), 9);
  ASSERT_EQ(run.samples.size(), 20U);
  for (int row = 0; row < 5; ++row) {
    EXPECT_FLOAT_EQ(run.samples[static_cast<size_t>(row * 4)],
                    static_cast<float>(7 + row) / 10 + 0.25F);
  }
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[2].seeds_size(), 1);
  EXPECT_EQ(requests[2].seeds(0), 11);
  EXPECT_EQ(requests[0].id(), requests[2].id());
  EXPECT_EQ(Shape(requests[0].shape().begin(), requests[0].shape().end()), (Shape{2, 1, 2, 2}));
}

TEST(Run, ReportsWhatTheServerSays) {
  const FakeServer server;
  VariantRun run;
  const Outcome failure = RunVariant(server.Connect(), FiveRows(), nullptr, "absent", {}, &run);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitServer);
  EXPECT_EQ(failure->text, "NOT_FOUND: no variant absent");
}

TEST(Run, RefusesAnswersThatMakeNoSense) {
  const FakeServer server;
  VariantRun silent;
  const Outcome no_result =
      RunVariant(server.Connect(), FiveRows(), nullptr, "silent", {}, &silent);
  ASSERT_TRUE(no_result);
  EXPECT_EQ(no_result->exit_status, kExitLocal);
  VariantRun cut;
  const Outcome too_short = RunVariant(server.Connect(), FiveRows(), nullptr, "short", {}, &cut);
  ASSERT_TRUE(too_short);
  EXPECT_EQ(too_short->text, "the result is [2,1,2,2] in 31 bytes: expected [2,1,2,2] in 32 bytes");
}

TEST(Run, AnAddressWithoutServerIsUnreachable) {
  Connection connection;
  connection.address = "127.0.0.1:1";
  connection.Open();
  std::vector<v1::Model> models;
  const Outcome failure = FetchModels(connection, &models);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->exit_status, kExitUnreachable);
}

TEST(Models, AreFoundByNameOrBecauseThereIsOne) {
  FakeServer server;
  v1::Model model;
  EXPECT_FALSE(FetchModel(server.Connect(), "", &model));
  EXPECT_EQ(model.name(), "digits");
  const Outcome unknown = FetchModel(server.Connect(), "x", &model);
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->text, "the server has no model 'x'; it has: digits");
  server.models = 2;
  const Outcome several = FetchModel(server.Connect(), "", &model);
  ASSERT_TRUE(several);
  EXPECT_EQ(several->exit_status, kExitUsage);
  EXPECT_EQ(several->text, "the server has 2 models (digits, other1): choose one");
  EXPECT_FALSE(FetchModel(server.Connect(), "other1", &model));
}

TEST(Models, LayersOfAnUnknownModelAreTheServersError) {
  const FakeServer server;
  const Outcome failure = ShowLayers(server.Connect(), {"x", "", false, false});
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->text, "NOT_FOUND: no such\\x0amodel");
}

TEST(Report, DifferenceIsTheLargestAndKeepsNaN) {
  VariantRun a;
  VariantRun b;
  a.samples = {0, 1, 2};
  b.samples = {0.5F, 1, -2};
  EXPECT_DOUBLE_EQ(LargestDifference(a, b), 4);
  b.samples[1] = std::nanf("");
  EXPECT_TRUE(std::isnan(LargestDifference(a, b)));
  b.samples.pop_back();
  EXPECT_TRUE(std::isnan(LargestDifference(a, b)));
}

TEST(Report, TextAndJsonTellTheSame) {
  const Job job = FiveRows();
  std::vector<VariantRun> runs(2);
  runs[0] = {"baseline", {0, 0}, 1, 3, 30, 0.5, 2'500'000};
  runs[1] = {"sliced", {0, 0.5F}, 1, 3, 60, 0.5, 1'500'000};
  const std::string text = ReportText(job, runs);
  EXPECT_NE(
      text.find("baseline         5      3        10.00     0.50     2.50                   -"),
      std::string::npos)
      << text;
  EXPECT_NE(
      text.find("sliced           5      3        20.00     0.50     1.50                 0.5"),
      std::string::npos)
      << text;
  const auto json = nlohmann::json::parse(ReportJson(job, runs, {"a.png", "", {"p.png"}}));
  EXPECT_EQ(json["variants"][1]["variant"], "sliced");
  EXPECT_EQ(json["variants"][1]["largest_difference"], 0.5);
  EXPECT_EQ(json["png"], "a.png");
  EXPECT_FALSE(json.contains("latents"));
  EXPECT_EQ(json["previews"][0], "p.png");
}

TEST(Denoise, DrawsEveryVariantAndKeepsItsLatents) {
  const FakeServer server;
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "unetctl_denoise";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  DenoiseOptions options;
  options.every_variant = true;
  options.rows = 3;
  options.loop.steps = 2;
  options.png = folder / "grid.png";
  options.out_latents = folder / "latents.safetensors";
  options.json = true;
  testing::internal::CaptureStdout();
  const Outcome failure = Denoise(server.Connect(), options);
  const std::string printed = testing::internal::GetCapturedStdout();
  ASSERT_FALSE(failure) << failure->text;
  EXPECT_EQ(nlohmann::json::parse(printed)["variants"].size(), 2U);
  EXPECT_TRUE(std::filesystem::exists(options.png));
  const auto latents = SafetensorsFile::Open(options.out_latents);
  ASSERT_TRUE(latents.ok()) << latents.status().message();
  ASSERT_TRUE((*latents)->tensors().contains("sliced"));
  const TensorView& sliced = (*latents)->tensors().at("sliced");
  EXPECT_EQ(sliced.shape, (Shape{3, 1, 2, 2}));
  EXPECT_FLOAT_EQ(sliced.as<float>()[4], 0.35F);
  EXPECT_EQ((*latents)->metadata().at("prompts"), "0,1,2");
  std::filesystem::remove_all(folder);
}

TEST(Denoise, ChecksTheCommandLineBeforeItAsksForWork) {
  const FakeServer server;
  const auto text = [&](const DenoiseOptions& options) {
    const Outcome failure = Denoise(server.Connect(), options);
    return failure ? failure->text : std::string("went well");
  };
  DenoiseOptions options;
  options.prompts.prompts = {"1"};
  EXPECT_EQ(text(options), "--prompt and --all name tensors of a file: give --conditions");
  options.prompts.prompts.clear();
  for (const char* size : {"3x", "0x4", "4", "1x1x4x4", "4x-4", "4x4 "}) {
    options.size = size;
    EXPECT_EQ(text(options), "--size '" + options.size + "': expected HxW or CxHxW, such as 64x64");
  }
  options.size = "";
  options.loop.scheduler = "/nowhere.json";
  EXPECT_EQ(text(options), "cannot read /nowhere.json");
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace unetd::unetctl
