#include "server/unet/block_types.h"

#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

enum class Fate { kPlain, kCross, kNotBuilt, kCannotRun };

struct BlockType {
  std::string_view name;
  BlockSide side;
  Fate fate;
};

constexpr BlockType kBlockTypes[] = {
    {"DownBlock2D", BlockSide::kDown, Fate::kPlain},
    {"CrossAttnDownBlock2D", BlockSide::kDown, Fate::kCross},
    {"ResnetDownsampleBlock2D", BlockSide::kDown, Fate::kNotBuilt},
    {"SimpleCrossAttnDownBlock2D", BlockSide::kDown, Fate::kNotBuilt},
    {"AttnDownBlock2D", BlockSide::kDown, Fate::kNotBuilt},
    {"KDownBlock2D", BlockSide::kDown, Fate::kNotBuilt},
    {"KCrossAttnDownBlock2D", BlockSide::kDown, Fate::kNotBuilt},
    {"SkipDownBlock2D", BlockSide::kDown, Fate::kCannotRun},
    {"AttnSkipDownBlock2D", BlockSide::kDown, Fate::kCannotRun},
    {"DownEncoderBlock2D", BlockSide::kDown, Fate::kCannotRun},
    {"AttnDownEncoderBlock2D", BlockSide::kDown, Fate::kCannotRun},
    {"UpBlock2D", BlockSide::kUp, Fate::kPlain},
    {"CrossAttnUpBlock2D", BlockSide::kUp, Fate::kCross},
    {"ResnetUpsampleBlock2D", BlockSide::kUp, Fate::kNotBuilt},
    {"SimpleCrossAttnUpBlock2D", BlockSide::kUp, Fate::kNotBuilt},
    {"AttnUpBlock2D", BlockSide::kUp, Fate::kNotBuilt},
    {"KUpBlock2D", BlockSide::kUp, Fate::kNotBuilt},
    {"KCrossAttnUpBlock2D", BlockSide::kUp, Fate::kNotBuilt},
    {"SkipUpBlock2D", BlockSide::kUp, Fate::kCannotRun},
    {"AttnSkipUpBlock2D", BlockSide::kUp, Fate::kCannotRun},
    {"UpDecoderBlock2D", BlockSide::kUp, Fate::kCannotRun},
    {"AttnUpDecoderBlock2D", BlockSide::kUp, Fate::kCannotRun},
};

}  // namespace

bool IsCrossBlock(ConfigReader& reader, BlockSide side, const std::string& where,
                  std::string_view type) {
  constexpr std::string_view kOldPrefix = "UNetRes";
  const std::string_view name =
      type.starts_with(kOldPrefix) ? type.substr(kOldPrefix.size()) : type;
  std::vector<std::string_view> known;
  for (const BlockType& block : kBlockTypes) {
    if (block.side != side) continue;
    known.push_back(block.name);
    if (block.name != name) continue;
    if (block.fate == Fate::kNotBuilt) reader.Fail(where, Quoted(type) + " is not built yet");
    if (block.fate == Fate::kCannotRun) {
      reader.Fail(where,
                  Quoted(type) + ": diffusers itself cannot run it in a UNet2DConditionModel");
    }
    return block.fate == Fate::kCross;
  }
  const std::string closest = Closest(name.substr(0, kQuotedCharacters), known);
  reader.Fail(where, Format("{} is no {} block of diffusers{}", Quoted(type),
                            side == BlockSide::kDown ? "down" : "up",
                            closest.empty() ? "" : Format("; did you mean '{}'?", closest)));
  return false;
}

}  // namespace unetd
