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
  EXPECT_EQ(DefaultProcessor().name, "AttnProcessor2_0");
}

TEST(ProcessorTable, TellsUnbuiltFromUnknown) {
  const auto unbuilt = FindProcessor("XFormersAttnProcessor");
  EXPECT_EQ(unbuilt.status().code(), Code::kInvalidArgument);
  EXPECT_EQ(unbuilt.status().message(),
            "processor 'XFormersAttnProcessor' is a diffusers processor that is not built yet; "
            "built: AttnProcessor, AttnProcessor2_0, FusedAttnProcessor2_0, SlicedAttnProcessor");
  EXPECT_THAT(
      FindProcessor("SlicedAtnProcessor").status().message(),
      HasSubstr("unknown processor 'SlicedAtnProcessor', did you mean 'SlicedAttnProcessor'?"));
  EXPECT_THAT(FindProcessor("AttnProcessor\n").status().message(),
              HasSubstr("unknown processor 'AttnProcessor\\n'"));
  EXPECT_FALSE(FindProcessor("").ok());
  EXPECT_LT(FindProcessor(std::string(1 << 20, 'x')).status().message().size(), 400u);
}

}  // namespace
}  // namespace unetd
