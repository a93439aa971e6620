#include "server/attention/processor_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unetd {
namespace {

using testing::HasSubstr;

TEST(ProcessorTable, FindsEveryRowByItsName) {
  for (const ProcessorRow& row : Processors()) {
    const auto found = FindProcessor(row.name);
    ASSERT_TRUE(found.ok()) << row.name;
    EXPECT_EQ(*found, &row);
  }
}

TEST(ProcessorTable, RowsAreAsDiffusersHasThem) {
  const ProcessorRow& math = **FindProcessor("AttnProcessor");
  EXPECT_EQ(math.algorithm, uint32_t{UNETD_ATTENTION_MATH});
  EXPECT_TRUE(math.Has(kScaleOfLayer) && math.Has(kHonoursUpcast));
  EXPECT_FALSE(math.Has(kHonoursQkNorm));
  const ProcessorRow& sdpa = **FindProcessor("AttnProcessor2_0");
  EXPECT_EQ(sdpa.algorithm, uint32_t{UNETD_ATTENTION_SDPA});
  EXPECT_FALSE(sdpa.Has(kScaleOfLayer) || sdpa.Has(kHonoursUpcast));
  EXPECT_TRUE(sdpa.Has(kHonoursQkNorm));
  const ProcessorRow& fused = **FindProcessor("FusedAttnProcessor2_0");
  EXPECT_EQ(fused.projection, Projection::kFused);
  EXPECT_EQ(fused.algorithm, sdpa.algorithm);
  EXPECT_EQ(fused.quirks, sdpa.quirks);
  const ProcessorRow& sliced = **FindProcessor("SlicedAttnProcessor");
  EXPECT_EQ(sliced.algorithm, uint32_t{UNETD_ATTENTION_SLICED});
  EXPECT_TRUE(sliced.Has(kIgnoresSpatialNorm));
  ASSERT_NE(sliced.FindOption("slice_size"), nullptr);
  EXPECT_TRUE(sliced.FindOption("slice_size")->required);
  EXPECT_EQ(math.FindOption("slice_size"), nullptr);
}

TEST(ProcessorTable, DefaultIsDiffusersDefault) {
  EXPECT_EQ(DefaultProcessor(false).name, "AttnProcessor2_0");
  EXPECT_EQ(DefaultProcessor(true).name, "AttnAddedKVProcessor2_0");
}

TEST(ProcessorTable, HasTheRowsThatConfigsName) {
  std::vector<std::string_view> names;
  for (const ProcessorRow& row : Processors()) names.push_back(row.name);
  EXPECT_THAT(
      names,
      testing::ElementsAre(
          "AttnProcessor", "AttnProcessor2_0", "FusedAttnProcessor2_0", "SlicedAttnProcessor",
          "AttnAddedKVProcessor", "AttnAddedKVProcessor2_0", "SlicedAttnAddedKVProcessor",
          "XFormersAttnAddedKVProcessor", "CrossFrameAttnProcessor", "CrossFrameAttnProcessor2_0",
          "CustomDiffusionAttnProcessor", "CustomDiffusionAttnProcessor2_0",
          "CustomDiffusionXFormersAttnProcessor", "XFormersAttnProcessor", "AttnProcessorNPU"));
}

// What `unetctl processors` and the documentation print.
TEST(ProcessorTable, TellsEverythingInOneLine) {
  for (const ProcessorRow& row : Processors()) {
    EXPECT_GT(row.summary.size(), 20u) << row.name;
    EXPECT_EQ(row.summary.find('\n'), std::string_view::npos) << row.name;
    EXPECT_NE(AlgorithmName(row.algorithm), "unknown") << row.name;
    EXPECT_NE(AlgorithmMemory(row.algorithm), "unknown") << row.name;
    EXPECT_FALSE(ProjectionName(row.projection).empty());
    for (const OptionSpec& option : row.options) {
      EXPECT_GT(option.meaning.size(), 10u) << row.name << " " << option.name;
      EXPECT_EQ(option.fallback.empty(), option.required) << row.name << " " << option.name;
      EXPECT_EQ(option.choices.empty(), option.type != OptionType::kChoice) << option.name;
      EXPECT_EQ(row.FindOption(option.name), &option);
    }
  }
  EXPECT_EQ(AlgorithmName(99), "unknown");
}

TEST(ProcessorTable, TellsUnbuiltFromUnknown) {
  const auto unbuilt = FindProcessor("IPAdapterAttnProcessor2_0");
  EXPECT_EQ(unbuilt.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(
      unbuilt.status().message(),
      HasSubstr("processor 'IPAdapterAttnProcessor2_0' is a diffusers processor that is not "
                "built yet; built: AttnProcessor, AttnProcessor2_0, "));
  EXPECT_THAT(
      FindProcessor("SlicedAtnProcessor").status().message(),
      HasSubstr("unknown processor 'SlicedAtnProcessor', did you mean 'SlicedAttnProcessor'?"));
  EXPECT_THAT(FindProcessor("AttnProcessor\n").status().message(),
              HasSubstr("unknown processor 'AttnProcessor\\n'"));
  EXPECT_FALSE(FindProcessor("").ok());
  EXPECT_LT(FindProcessor(std::string(1 << 20, 'x')).status().message().size(), 600u);
}

}  // namespace
}  // namespace unetd
