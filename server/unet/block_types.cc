#include "server/unet/block_types.h"

#include <optional>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

struct BlockType {
  std::string_view name;
  BlockSide side;
  std::optional<BlockKind> kind;  // absent: diffusers cannot run it in a UNet2DConditionModel
};

constexpr BlockType kBlockTypes[] = {
    {"DownBlock2D", BlockSide::kDown, BlockKind::kPlain},
    {"CrossAttnDownBlock2D", BlockSide::kDown, BlockKind::kCross},
    {"ResnetDownsampleBlock2D", BlockSide::kDown, BlockKind::kResnet},
    {"SimpleCrossAttnDownBlock2D", BlockSide::kDown, BlockKind::kSimple},
    {"AttnDownBlock2D", BlockSide::kDown, BlockKind::kAttn},
    {"KDownBlock2D", BlockSide::kDown, BlockKind::kK},
    {"KCrossAttnDownBlock2D", BlockSide::kDown, BlockKind::kKCross},
    {"SkipDownBlock2D", BlockSide::kDown, std::nullopt},
    {"AttnSkipDownBlock2D", BlockSide::kDown, std::nullopt},
    {"DownEncoderBlock2D", BlockSide::kDown, std::nullopt},
    {"AttnDownEncoderBlock2D", BlockSide::kDown, std::nullopt},
    {"UpBlock2D", BlockSide::kUp, BlockKind::kPlain},
    {"CrossAttnUpBlock2D", BlockSide::kUp, BlockKind::kCross},
    {"ResnetUpsampleBlock2D", BlockSide::kUp, BlockKind::kResnet},
    {"SimpleCrossAttnUpBlock2D", BlockSide::kUp, BlockKind::kSimple},
    {"AttnUpBlock2D", BlockSide::kUp, BlockKind::kAttn},
    {"KUpBlock2D", BlockSide::kUp, BlockKind::kK},
    {"KCrossAttnUpBlock2D", BlockSide::kUp, BlockKind::kKCross},
    {"SkipUpBlock2D", BlockSide::kUp, std::nullopt},
    {"AttnSkipUpBlock2D", BlockSide::kUp, std::nullopt},
    {"UpDecoderBlock2D", BlockSide::kUp, std::nullopt},
    {"AttnUpDecoderBlock2D", BlockSide::kUp, std::nullopt},
};

}  // namespace

BlockKind KindOfBlock(ConfigReader& reader, BlockSide side, const std::string& where,
                      std::string_view type) {
  constexpr std::string_view kOldPrefix = "UNetRes";
  const std::string_view name =
      type.starts_with(kOldPrefix) ? type.substr(kOldPrefix.size()) : type;
  std::vector<std::string_view> known;
  for (const BlockType& block : kBlockTypes) {
    if (block.side != side) continue;
    known.push_back(block.name);
    if (block.name != name) continue;
    if (!block.kind) {
      reader.Fail(where,
                  Quoted(type) + ": diffusers itself cannot run it in a UNet2DConditionModel");
    }
    return block.kind.value_or(BlockKind::kPlain);
  }
  const std::string closest = Closest(name.substr(0, kQuotedCharacters), known);
  reader.Fail(where, Format("{} is no {} block of diffusers{}", Quoted(type),
                            side == BlockSide::kDown ? "down" : "up",
                            closest.empty() ? "" : Format("; did you mean '{}'?", closest)));
  return BlockKind::kPlain;
}

}  // namespace unetd
