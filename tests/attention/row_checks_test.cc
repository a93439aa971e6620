#include "server/attention/row_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/backend/reference.h"

namespace unetd {
namespace {

using testing::HasSubstr;

class RowChecks : public testing::Test {
 protected:
  static AttentionLayer Layer(const std::string& name) {
    AttentionLayer layer;
    layer.name = name;
    layer.query_dim = 8;
    layer.cross_dim = name.ends_with("attn2") ? 6 : 0;
    layer.head_dim = 8;
    return layer;
  }

  std::string Refusal(const char* processor,
                      std::vector<std::pair<std::string, OptionValue>> options, uint32_t rows,
                      bool self_mask = false, bool text_mask = false, const char* layers = "*") {
    const auto backend = Backend::Open(ReferenceBackend(), {}, "built in");
    VariantSettings variant;
    variant.processors.resize(1);
    variant.processors[0].layers = layers;
    variant.processors[0].processor = processor;
    variant.processors[0].options = std::move(options);
    variant.processors[0].json_path = "rules[0]";
    const auto bindings =
        BindVariant(variant, {Layer("a.attn1"), Layer("a.attn2")}, BackendRegistry(), *backend);
    EXPECT_TRUE(bindings.ok()) << bindings.status().message();
    const Status status = CheckRowGroup(*bindings, rows, self_mask, text_mask);
    EXPECT_TRUE(status.ok() || status.code() == Code::kInvalidArgument);
    return status.message();
  }
};

// diffusers' own: N // batch_size frames, and N must be a multiple of them.
TEST_F(RowChecks, RowsAreWholeVideos) {
  for (int64_t videos = 1; videos <= 4; ++videos) {
    for (uint32_t rows = 1; rows <= 9; ++rows) {
      const uint32_t frames = rows / static_cast<uint32_t>(videos);
      const bool expected_math = frames != 0 && rows % frames == 0;
      const bool expected_sdpa = rows % std::max(frames, 1u) == 0;
      EXPECT_EQ(Refusal("CrossFrameAttnProcessor", {{"batch_size", videos}}, rows).empty(),
                expected_math)
          << rows << " rows, " << videos << " videos";
      EXPECT_EQ(Refusal("CrossFrameAttnProcessor2_0", {{"batch_size", videos}}, rows).empty(),
                expected_sdpa)
          << rows << " rows, " << videos << " videos";
    }
  }
}

TEST_F(RowChecks, SayWhatIsWrong) {
  EXPECT_EQ(
      Refusal("CrossFrameAttnProcessor2_0", {}, 5),
      "sample: CrossFrameAttnProcessor2_0 of layer 'a.attn1' (by rules[0]) takes the rows of "
      "a request as batch_size=2 videos, so of rows // 2 frames each; 5 rows are no videos of "
      "2 frames; expected a multiple of 2");
  EXPECT_THAT(Refusal("CrossFrameAttnProcessor", {}, 1), HasSubstr("1 rows are fewer than that"));
}

TEST_F(RowChecks, CrossAttentionIsPlain) {
  EXPECT_EQ(Refusal("CrossFrameAttnProcessor", {}, 1, false, false, "*.attn2"), "");
}

TEST_F(RowChecks, AMaskOfCustomDiffusionIsForOneRow) {
  const std::vector<std::pair<std::string, OptionValue>> none = {{"train_kv", false},
                                                                 {"train_q_out", false}};
  const char* name = "CustomDiffusionAttnProcessor2_0";
  EXPECT_EQ(Refusal(name, none, 2), "");
  EXPECT_EQ(Refusal(name, none, 1, true, true), "");
  EXPECT_EQ(
      Refusal(name, none, 2, true),
      "attention_mask: CustomDiffusionAttnProcessor2_0 of layer 'a.attn1' (by rules[0]) takes "
      "a mask with one row only, as diffusers does; got 2 rows");
  EXPECT_THAT(Refusal(name, none, 2, false, true), HasSubstr("encoder_attention_mask: "));
  EXPECT_EQ(Refusal(name, none, 2, true, false, "*.attn2"), "");
  EXPECT_EQ(Refusal("CustomDiffusionAttnProcessor", none, 2, true, true), "");
}

}  // namespace
}  // namespace unetd
