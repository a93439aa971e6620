// Profiles through the facade, on the reference backend.
#include <limits>
#include <map>
#include <set>

#include "server/base/text.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

class ProfileTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = Loaded(TinySettings()).release(); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static ProfileRequest Request(int64_t rows = 0, int64_t repeats = 2) {
    ProfileRequest request;
    request.model = "labels";
    request.rows = rows;
    request.repeats = repeats;
    return request;
  }
  static std::shared_ptr<CallHandle> Start(ProfileRequest request, Answer<ProfileResult>& answer) {
    return server_->Profile(std::move(request),
                            [&](StatusOr<ProfileResult> r) { answer.Set(std::move(r)); });
  }
  static StatusOr<ProfileResult> Profile(ProfileRequest request) {
    Answer<ProfileResult> answer;
    const auto handle = Start(std::move(request), answer);
    return std::move(answer.Wait());
  }
  // A profile that lasts.
  static ProfileRequest Long() {
    ProfileRequest request = Request(4, 100);
    request.height = request.width = 32;
    return request;
  }
  static std::string ErrorOf(ProfileRequest request, Code code = Code::kInvalidArgument) {
    const auto result = Profile(std::move(request));
    EXPECT_EQ(result.status().code(), code) << result.status().message();
    return result.status().message();
  }

  static Server* server_;
};
Server* ProfileTest::server_ = nullptr;

TEST_F(ProfileTest, TellsEveryOperatorInTheOrderOfTheForward) {
  const auto result = Profile(Request());
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->model, "labels");
  EXPECT_EQ(result->variant, "plain");  // the first
  EXPECT_EQ(result->rows, 1u);
  EXPECT_EQ(result->repeats, 2u);
  EXPECT_EQ(result->height, 8u);
  EXPECT_EQ(result->width, 8u);
  EXPECT_TRUE(result->shape.starts_with("8x8 text=77")) << result->shape;
  EXPECT_GE(result->threads, 1u);
  EXPECT_FALSE(result->cpu.empty());
  EXPECT_GT(result->forward_ms, 0);

  const auto model = server_->DescribeModel("labels");
  ASSERT_TRUE(model.ok());
  EXPECT_EQ(result->operators.size(), model->plans[0].operators);
  std::vector<std::string> sections;
  std::set<std::string> layers;
  for (const ProfiledOperator& op : result->operators) {
    if (sections.empty() || sections.back() != op.section) sections.push_back(op.section);
    layers.insert(op.layer);
    EXPECT_TRUE(op.text.starts_with(op.kind)) << op.text;
    EXPECT_EQ(op.backend, "reference");
    EXPECT_FALSE(op.kernel.empty()) << op.text;
    EXPECT_EQ(op.calls, 1u) << op.text;
    EXPECT_GT(op.ms, 0) << op.text;
    EXPECT_GT(op.bytes, 0u) << op.text;
    const bool counted = op.kind == "conv2d" || op.kind == "linear" || op.kind == "attention";
    EXPECT_EQ(op.flops > 0, counted) << op.text;
  }
  EXPECT_EQ(sections, (std::vector<std::string>{"condition", "schedule", "step"}));
  EXPECT_EQ(result->operators.back().kind, "layout");  // the output
  for (const LayerInfo& layer : model->layers) EXPECT_TRUE(layers.contains(layer.name));
  EXPECT_EQ(server_->Stats().domains[0].requests_bytes, 0u);
}

bool HasWeights(const ProfiledOperator& op) {
  for (const char* kind : {"conv2d", "linear", "group_norm", "layer_norm", "lookup"}) {
    if (op.kind == kind) return true;
  }
  return false;
}

TEST_F(ProfileTest, RowsAreWorkAndWeightsAreSharedByThem) {
  const auto one = Profile(Request(1)), three = Profile(Request(3));
  ASSERT_TRUE(one.ok() && three.ok());
  EXPECT_EQ(three->rows, 3u);
  ASSERT_EQ(one->operators.size(), three->operators.size());
  for (size_t i = 0; i < one->operators.size(); ++i) {
    const ProfiledOperator &a = one->operators[i], &b = three->operators[i];
    EXPECT_EQ(b.flops, 3 * a.flops) << a.text;
    EXPECT_GT(b.bytes, a.bytes) << a.text;
    EXPECT_EQ(b.bytes < 3 * a.bytes, HasWeights(a)) << a.text;
  }
}

TEST_F(ProfileTest, AnotherVariantAndAnotherSize) {
  ProfileRequest request = Request();
  request.variant = "sliced";
  request.height = 12;
  request.width = 6;
  const auto result = Profile(request);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->variant, "sliced");
  EXPECT_EQ(result->height, 12u);
  EXPECT_EQ(result->width, 6u);
  std::map<std::string, int> attention;
  for (const ProfiledOperator& op : result->operators) {
    if (op.kind == "attention") ++attention[op.text.substr(0, 16)];
  }
  EXPECT_GT(attention["attention sliced"], 0);
}

TEST_F(ProfileTest, ErrorsNameTheFieldWhatWasExpectedAndWhatCame) {
  for (const int64_t rows : {-1, 5}) {
    EXPECT_EQ(
        ErrorOf(Request(rows)),
        Format("rows: expected 1 to 4 (max_batch of model 'labels'), or 0 for 1; got {}", rows));
  }
  for (const int64_t repeats : {-7, 101}) {
    EXPECT_EQ(ErrorOf(Request(1, repeats)),
              Format("repeats: expected 1 to 100, or 0 for 5; got {}", repeats));
  }
  const int64_t most = std::numeric_limits<int32_t>::max(), least = -most - 1;
  const std::pair<int64_t, int64_t> sizes[] = {{8, 0},     {0, 8},       {-8, 8},
                                               {8, least}, {most, most}, {2048, 2049}};
  for (const auto& [height, width] : sizes) {
    ProfileRequest request = Request();
    request.height = height;
    request.width = width;
    EXPECT_EQ(ErrorOf(request),
              Format("height and width: expected 1 or more of each and at most 4194304 pixels, or "
                     "0 and 0 for the first size of model 'labels'; got {} and {}",
                     height, width));
  }
  ProfileRequest request = Request();
  request.height = request.width = 2048;
  EXPECT_NE(ErrorOf(request, Code::kResourceExhausted).find("memory_mib"), std::string::npos);
  request = Request();
  request.model = "nobody";
  EXPECT_EQ(ErrorOf(request, Code::kNotFound), "Request for unknown model: 'nobody' is not found");
  request = Request();
  request.variant = "no\none";
  EXPECT_EQ(ErrorOf(request, Code::kNotFound),
            "model 'labels' has no variant 'no\\none'; it has: plain, sliced");
}

TEST_F(ProfileTest, IsStopped) {
  Answer<ProfileResult> cancelled;
  Start(Long(), cancelled)->Cancel();
  EXPECT_EQ(cancelled.Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(cancelled.count(), 1);
  ProfileRequest late = Long();
  late.deadline = Clock::now() + std::chrono::milliseconds(20);
  EXPECT_EQ(Profile(late).status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(server_->Stats().domains[0].requests_bytes, 0u);
}

TEST_F(ProfileTest, OthersRunBetweenItsForwardsWithTheirOwnBits) {
  const TinyInfer infer(2);
  const auto before = Infer(*server_, infer.Request());
  ASSERT_TRUE(before.ok());
  const auto count = [](uint64_t VariantStats::*field) {
    uint64_t sum = 0;
    for (const VariantStats& variant : server_->Stats().variants) sum += variant.*field;
    return sum;
  };
  const uint64_t forwards = count(&VariantStats::execution_count);
  Answer<ProfileResult> answer;
  const auto profile = Start(Long(), answer);
  for (int i = 0; i < 3; ++i) {
    const auto beside = Infer(*server_, infer.Request());
    ASSERT_TRUE(beside.ok()) << beside.status().message();
    EXPECT_EQ(beside->outputs[0].bytes, before->outputs[0].bytes);
  }
  EXPECT_EQ(answer.count(), 0);  // they did not wait for its end
  // Its forwards are nobody's inferences.
  EXPECT_EQ(count(&VariantStats::execution_count), forwards + 3);
  profile->Cancel();
  EXPECT_EQ(answer.Wait().status().code(), Code::kCancelled);
}

TEST(ProfileStopping, IsUnavailable) {
  const auto server = Loaded(TinySettings());
  server->Drain(10);
  Answer<ProfileResult> answer;
  ProfileRequest request;
  request.model = "labels";
  server->Profile(request, [&](StatusOr<ProfileResult> r) { answer.Set(std::move(r)); });
  EXPECT_EQ(answer.Wait().status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace unetd
