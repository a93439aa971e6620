#include "server/attention/processor_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace unetd {
namespace {

using Options = std::vector<std::pair<std::string, OptionValue>>;

ProcessorRule Rule(const std::string& processor, Options options) {
  ProcessorRule rule;
  rule.processor = processor;
  rule.json_path = "rule";
  rule.options = std::move(options);
  return rule;
}

StatusOr<ProcessorOptions> Read(const std::string& processor, Options options) {
  return ReadOptions(Rule(processor, std::move(options)), **FindProcessor(processor));
}

std::string Refusal(const std::string& processor, Options options) {
  const auto read = Read(processor, std::move(options));
  if (read.ok()) return "accepted";
  EXPECT_EQ(read.status().code(), Code::kInvalidArgument);
  return read.status().message();
}

std::string Text(const std::string& processor, Options options) {
  const auto read = Read(processor, std::move(options));
  return read.ok() ? read->Text(**FindProcessor(processor)) : read.status().message();
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST(ProcessorOptions, OnlyThoseOfTheRow) {
  EXPECT_EQ(Refusal("AttnProcessor", {{"slice_size", int64_t{1}}}),
            "rule: AttnProcessor has no option 'slice_size'; it takes none");
  EXPECT_EQ(Refusal("SlicedAttnProcessor", {{"slice_size", int64_t{1}}, {"heads\n", int64_t{1}}}),
            "rule: SlicedAttnProcessor has no option 'heads\\n'; it takes: slice_size");
  EXPECT_EQ(Refusal("SlicedAttnAddedKVProcessor", {}),
            "rule.slice_size: SlicedAttnAddedKVProcessor needs it: expected an integer >= 1");
  EXPECT_EQ(Refusal("CustomDiffusionAttnProcessor", {{"attention_op", nullptr}}),
            "rule: CustomDiffusionAttnProcessor has no option 'attention_op'; it takes: train_kv, "
            "train_q_out, hidden_size, cross_attention_dim, out_bias, dropout");
}

TEST(ProcessorOptions, PositiveIntegers) {
  const std::pair<const char*, const char*> kOptions[] = {
      {"SlicedAttnProcessor", "slice_size"}, {"CrossFrameAttnProcessor", "batch_size"}};
  for (const auto& entry : kOptions) {
    const std::string option = entry.second;
    const std::string expected = "rule." + option + ": expected an integer >= 1, got ";
    const auto with = [&](OptionValue value) {
      return Refusal(entry.first, {{option, std::move(value)}});
    };
    EXPECT_EQ(with(std::string("auto")), expected + "'auto'");
    EXPECT_EQ(with(int64_t{0}), expected + "0");
    EXPECT_EQ(with(int64_t{-1}), expected + "-1");
    EXPECT_EQ(with(int64_t{1} << 40), expected + "1099511627776");
    EXPECT_EQ(with(nullptr), expected + "null");
    EXPECT_EQ(with(true), expected + "true");
    EXPECT_EQ(with(1.5), expected + "1.5");
    EXPECT_EQ(with(1e300).substr(0, expected.size()), expected);
    EXPECT_EQ(with(kNaN).substr(0, expected.size()), expected);
    EXPECT_EQ(with(int64_t{7}), "accepted");
    EXPECT_EQ(with(8.0), "accepted");
  }
  EXPECT_EQ(Text("SlicedAttnProcessor", {{"slice_size", 8.0}}), "slice_size=8");
  EXPECT_EQ(Text("CrossFrameAttnProcessor2_0", {}), "batch_size=2");
  EXPECT_EQ(Text("CrossFrameAttnProcessor2_0", {{"batch_size", int64_t{3}}}), "batch_size=3");
}

TEST(ProcessorOptions, OfCustomDiffusion) {
  const std::string name = "CustomDiffusionAttnProcessor2_0";
  for (const char* option : {"train_kv", "train_q_out", "out_bias"}) {
    const std::string expected = std::string("rule.") + option + ": expected true or false, got ";
    EXPECT_EQ(Refusal(name, {{option, int64_t{1}}}), expected + "1");
    EXPECT_EQ(Refusal(name, {{option, std::string("true")}}), expected + "'true'");
    EXPECT_EQ(Refusal(name, {{option, nullptr}}), expected + "null");
    EXPECT_EQ(Text(name, {{option, false}}), std::string(option) + "=false");
  }
  for (const char* option : {"hidden_size", "cross_attention_dim"}) {
    const std::string expected =
        std::string("rule.") + option + ": expected an integer >= 1 or null, got ";
    EXPECT_EQ(Refusal(name, {{option, int64_t{0}}}), expected + "0");
    EXPECT_EQ(Refusal(name, {{option, false}}), expected + "false");
    EXPECT_EQ(Text(name, {{option, nullptr}}), "");
    EXPECT_EQ(Text(name, {{option, int64_t{320}}}), std::string(option) + "=320");
  }
  const std::string expected = "rule.dropout: expected a number from 0 to 1, got ";
  EXPECT_EQ(Refusal(name, {{"dropout", 1.5}}), expected + "1.5");
  EXPECT_EQ(Refusal(name, {{"dropout", int64_t{-1}}}), expected + "-1");
  EXPECT_EQ(Refusal(name, {{"dropout", std::string("0")}}), expected + "'0'");
  EXPECT_THAT(Refusal(name, {{"dropout", kNaN}}), testing::StartsWith(expected));
  // It changes nothing, so it is not part of what a binding is.
  EXPECT_EQ(Text(name, {{"dropout", 0.5}}), "");
}

TEST(ProcessorOptions, AttentionOp) {
  const std::string expected =
      "rule.attention_op: expected text of 1 to 63 characters or null, got ";
  EXPECT_EQ(Refusal("XFormersAttnProcessor", {{"attention_op", int64_t{1}}}), expected + "1");
  EXPECT_EQ(Refusal("XFormersAttnProcessor", {{"attention_op", std::string()}}), expected + "''");
  EXPECT_THAT(Refusal("XFormersAttnProcessor", {{"attention_op", std::string(64, 'x')}}),
              testing::StartsWith(expected));
  EXPECT_EQ(Text("XFormersAttnProcessor", {{"attention_op", nullptr}}), "attention_op=null");
  EXPECT_EQ(Text("XFormersAttnProcessor", {{"attention_op", std::string("cutlass")}}),
            "attention_op='cutlass'");
  EXPECT_EQ(Text("XFormersAttnAddedKVProcessor", {}), "attention_op=null");
}

TEST(ProcessorOptions, OfTheNpu) {
  EXPECT_EQ(Refusal("AttnProcessorNPU", {{"compute", std::string("float32")}}),
            "rule.compute: expected 'float16' or 'bfloat16' or null, got 'float32'");
  EXPECT_EQ(Refusal("AttnProcessorNPU", {{"mask", nullptr}}),
            "rule.mask: expected 'correct' or 'diffusers', got null");
  EXPECT_EQ(Text("AttnProcessorNPU", {{"compute", nullptr}}), "mask=correct");
  EXPECT_EQ(Text("AttnProcessorNPU",
                 {{"mask", std::string("diffusers")}, {"compute", std::string("float16")}}),
            "compute=float16, mask=diffusers");
}

}  // namespace
}  // namespace unetd
