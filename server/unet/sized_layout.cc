// The sizes that a UNet's blocks work on, followed from conv_in to the last up block.
#include "server/base/text.h"
#include "server/unet/unet_layout.h"

namespace unetd {
namespace {

std::string SizeText(Size size) { return Format("{}x{}", size.h, size.w); }

// A 3x3 convolution of stride 2.
uint32_t ConvHalved(uint32_t side, uint32_t padding) {
  // Without padding, diffusers adds one row of zeros at the far end.
  const uint32_t padded = side + (padding == 0 ? 1 : 2 * padding);
  return padded < 3 ? 0 : (padded - 3) / 2 + 1;
}

// The image on its way through the blocks, and the skip connections that are still to be read.
class SizeWalk {
 public:
  SizeWalk(const UNetConfig& config, const UNetLayout& layout, Size sample)
      : config_(config), layout_(layout), x_{config.levels.front().channels, sample} {
    // diffusers doubles, and tells upsamplers the skip's size only if it has to.
    const uint32_t factor = 1u << (config.levels.size() - 1);
    told_ = sample.h % factor != 0 || sample.w % factor != 0;
  }

  StatusOr<SizedLayout> Run() {
    sized_.skips.push_back(x_);
    for (const BlockLayout& block : layout_.down) RETURN_IF_ERROR(Down(block));
    left_ = sized_.skips;
    for (const BlockLayout& block : layout_.up) RETURN_IF_ERROR(Up(block));
    return std::move(sized_);
  }

 private:
  Status Down(const BlockLayout& block) {
    sized_.levels.push_back(x_.size);
    x_.channels = block.channels;
    // A KCrossAttn block without a sampler leaves its places empty.
    const bool empty = block.kind == BlockKind::kKCross && !block.has_sampler();
    for (size_t j = 0; j < block.resnets.size(); ++j) {
      sized_.skips.push_back(empty ? SkipShape{0, x_.size} : x_);
    }
    if (block.has_sampler()) {
      const Size before = x_.size;
      x_.size = {Halved(block, before.h), Halved(block, before.w)};
      if (x_.size.h == 0 || x_.size.w == 0) {
        return InvalidArgument(
            Format("{} is too small for the downsampler of {}", SizeText(before), block.path));
      }
      if (!block.blurs) sized_.skips.push_back(x_);
    }
    sized_.outputs.push_back(x_);
    return OkStatus();
  }

  uint32_t Halved(const BlockLayout& block, uint32_t side) const {
    if (!block.sampler.empty()) return ConvHalved(side, config_.downsample_padding);
    // The blur's padding reflects: it needs two rows.
    return side / 2;
  }

  // Appends `skip` to the channels of the image.
  Status Join(const BlockLayout& block, const ResnetLayout& resnet, const SkipShape& skip) {
    if (skip.present() && skip.size != x_.size) {
      return InvalidArgument(
          Format("{} has an image of {} there, and its skip connection one of {}", resnet.path,
                 SizeText(x_.size), SizeText(skip.size)));
    }
    if (!skip.present() && !IsK(block.kind)) {
      return InvalidArgument(Format("no skip connection is handed to {}", resnet.path));
    }
    if (x_.channels + skip.channels != resnet.in_channels) {
      return InvalidArgument(
          Format("{} reads {} channels, and gets {} and {} of the skip connection", resnet.path,
                 resnet.in_channels, x_.channels, skip.channels));
    }
    x_.channels = resnet.out_channels;
    return OkStatus();
  }

  Status Up(const BlockLayout& block) {
    if (left_.size() < block.resnets.size()) {
      return InvalidArgument(Format("{} reads {} skip connections, and {} are left", block.path,
                                    block.resnets.size(), left_.size()));
    }
    if (IsK(block.kind)) {
      RETURN_IF_ERROR(Join(block, block.resnets.front(), left_.back()));
      left_.resize(left_.size() - block.resnets.size());
    } else {
      for (const ResnetLayout& resnet : block.resnets) {
        RETURN_IF_ERROR(Join(block, resnet, left_.back()));
        left_.pop_back();
      }
    }
    x_.channels = block.channels;
    return block.has_sampler() ? Double(block) : OkStatus();
  }

  Status Double(const BlockLayout& block) {
    if (block.blurs && (x_.size.h < 2 || x_.size.w < 2)) {
      return InvalidArgument(
          Format("{} is too small for the upsampler of {}", SizeText(x_.size), block.path));
    }
    const bool told = told_ && (block.kind == BlockKind::kPlain || block.kind == BlockKind::kCross);
    if (!told) {
      x_.size = {2 * x_.size.h, 2 * x_.size.w};
      return OkStatus();
    }
    if (left_.empty() || !left_.back().present()) {
      return InvalidArgument(Format("{} has no skip connection to take its size from", block.path));
    }
    x_.size = left_.back().size;
    return OkStatus();
  }

  const UNetConfig& config_;
  const UNetLayout& layout_;
  bool told_ = false;
  SkipShape x_;
  SizedLayout sized_;
  std::vector<SkipShape> left_;
};

}  // namespace

StatusOr<SizedLayout> SizeLayout(const UNetConfig& config, const UNetLayout& layout, Size sample) {
  return SizeWalk(config, layout, sample).Run();
}

}  // namespace unetd
