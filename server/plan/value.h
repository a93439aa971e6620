// Values: what operators read and write while a plan is being built. All sizes speak of one row of
// the batch.
#pragma once

#include <cstdint>
#include <vector>

#include "server/tensor/dtype.h"

namespace unetd {

struct Size {
  uint32_t h = 1;
  uint32_t w = 1;
  bool operator==(const Size&) const = default;
};

// A plan's three sections, in the order in which they run: `condition` depends on what the request
// says once (text, labels), `schedule` on the timestep too, `step` on the sample. A value's section
// follows from what it is made of.
enum class Section { kCondition = 0, kSchedule = 1, kStep = 2 };
inline constexpr int kSectionCount = 3;

// Some channels of one buffer: token t's begin at element first + t * stride.
struct ChannelSlice {
  int storage = -1;
  uint64_t first = 0;
  uint32_t channels = 0;
  uint64_t stride = 0;
};

// An image (channels-last, h * w tokens), a sequence (h = tokens, w = 1) or a vector (one token): a
// list of channel slices read side by side. A default Value is absent: optional arguments take it.
struct Value {
  Size size;
  DType dtype = DType::kFloat32;
  std::vector<ChannelSlice> slices;

  bool present() const { return !slices.empty(); }
  uint64_t tokens() const { return uint64_t{size.h} * size.w; }
  uint32_t channels() const {
    uint32_t sum = 0;
    for (const ChannelSlice& slice : slices) sum += slice.channels;
    return sum;
  }
};

// `a` and `b` side by side on the channels, with no copy. Both have one size and dtype.
Value Concat(const Value& a, const Value& b);
// Channels [first, first + channels) of `value`, with no copy.
Value SliceChannels(const Value& value, uint32_t first, uint32_t channels);
// Tokens [first, first + tokens) of `value` as a sequence, with no copy.
Value SliceTokens(const Value& value, uint32_t first, uint32_t tokens);
// A vector of tokens * channels in one slice, as diffusers' reshape(tokens, channels), with no
// copy.
Value SplitTokens(const Value& value, uint32_t tokens);

}  // namespace unetd
