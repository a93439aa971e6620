#include "backends/cpu/norm_kernels.h"

#include "backends/cpu/typed_rows.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

UNETD_SIMD uint64_t Padded(uint64_t channels) { return (channels + 15) / 16 * 16; }

// Segment s of token t as floats.
UNETD_SIMD const float* TokenOf(const NormSegment& s, uint64_t token, float* room) {
  return AsFloats(Further(s.data, s.dtype, token * s.stride), s.dtype, s.channels, room);
}

// The sum of a run of floats: four accumulators, then across lanes, in an order that `count` alone
// decides.
template <typename Of>
UNETD_SIMD float SumOf(uint64_t count, const Of& of) {
  Vec sums[4] = {Zero(), Zero(), Zero(), Zero()};
  uint64_t at = 0;
  for (; at + 4 * kLanes <= count; at += 4 * kLanes) {
    for (int i = 0; i < 4; ++i)
      sums[i] = sums[i] + of(at + static_cast<uint64_t>(i * kLanes), kLanes);
  }
  EachVector(count - at, [&](uint64_t more, int n) { sums[0] = sums[0] + of(at + more, n); });
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// Calls body(channel, rows of four tokens or of one, tokens) so that each pass over the sums takes
// in four tokens.
template <typename Body>
UNETD_SIMD void EachFourTokens(const NormBlock& block, float* rooms, const Body& body) {
  for (uint64_t t = 0; t < block.tokens;) {
    const int tokens = t + 4 <= block.tokens ? 4 : 1;
    uint64_t channel = 0;
    for (uint32_t s = 0; s < block.segment_count; ++s) {
      const NormSegment& segment = block.segments[s];
      const float* rows[4] = {};
      for (int i = 0; i < tokens; ++i) {
        rows[i] = TokenOf(segment, t + static_cast<uint64_t>(i),
                          rooms + static_cast<uint64_t>(i) * Padded(block.channels));
      }
      body(channel, segment.channels, rows, tokens);
      channel += segment.channels;
    }
    t += static_cast<uint64_t>(tokens);
  }
}

// means[c] = `mean` for the channels of group g.
UNETD_SIMD void Spread(double mean, uint32_t g, uint64_t size, float* means) {
  const Vec m = Set1(static_cast<float>(mean));
  EachVector(size, [&](uint64_t c, int n) { StoreN(means + g * size + c, m, n); });
}
UNETD_SIMD double GroupSum(const float* channels, uint32_t g, uint64_t size) {
  return static_cast<double>(
      SumOf(size, [&](uint64_t c, int n) { return LoadN(channels + g * size + c, n); }));
}

// sums[c] += (x - means[c]) of every token, or its square.
template <bool kSquare>
UNETD_SIMD void AddDistances(const NormBlock& block, const float* means, float* rooms,
                             float* sums) {
  const auto of = [](const float* x, Vec mean, int n) {
    const Vec d = LoadN(x, n) - mean;
    return kSquare ? d * d : d;
  };
  EachFourTokens(
      block, rooms, [&](uint64_t channel, uint32_t channels, const float* const* x, int tokens) {
        EachVector(channels, [&](uint64_t c, int n) {
          const Vec mean = LoadN(means + channel + c, n);
          Vec sum = of(x[0] + c, mean, n);
          if (tokens == 4) {
            sum = (sum + of(x[1] + c, mean, n)) + (of(x[2] + c, mean, n) + of(x[3] + c, mean, n));
          }
          StoreN(sums + channel + c, LoadN(sums + channel + c, n) + sum, n);
        });
      });
}

// Two passes over the block, which stays in cache. The first takes its sums as distances from the
// mean of the block's first token, so that a mean far from 0 costs no digits.
void Moments(const NormBlock& block, uint32_t groups, float* room, GroupMoments* moments) {
  const uint64_t row = Padded(block.channels), size = block.channels / groups;
  float* sums = room;
  float* means = room + row;
  float* rooms = room + 2 * row;
  const double count = static_cast<double>(size) * static_cast<double>(block.tokens);
  uint64_t channel = 0;
  for (uint32_t s = 0; s < block.segment_count; channel += block.segments[s++].channels) {
    const float* first = TokenOf(block.segments[s], 0, rooms);
    __builtin_memcpy(means + channel, first, block.segments[s].channels * sizeof(float));
  }
  for (uint32_t g = 0; g < groups; ++g) {
    Spread(GroupSum(means, g, size) / static_cast<double>(size), g, size, means);
  }
  __builtin_memset(sums, 0, row * sizeof(float));
  AddDistances<false>(block, means, rooms, sums);
  for (uint32_t g = 0; g < groups; ++g) {
    moments[g].mean = static_cast<double>(means[g * size]) + GroupSum(sums, g, size) / count;
    Spread(moments[g].mean, g, size, means);
  }
  __builtin_memset(sums, 0, row * sizeof(float));
  AddDistances<true>(block, means, rooms, sums);
  for (uint32_t g = 0; g < groups; ++g) {
    // The distances were from the mean as a float: what that added is taken off.
    const double off = moments[g].mean - static_cast<double>(means[g * size]);
    moments[g].squares = GroupSum(sums, g, size) - count * off * off;
  }
}

template <uint32_t kActivation>
void Apply(const NormBlock& block, const float* mean, const float* scale, const float* shift,
           float* room, void* dst, int32_t dst_dtype, uint64_t dst_stride) {
  float* dst_room = room + Padded(block.channels);
  for (uint64_t t = 0; t < block.tokens; ++t) {
    void* to = Further(dst, dst_dtype, t * dst_stride);
    float* y = FloatsFor(to, dst_dtype, dst_room);
    uint64_t channel = 0;
    for (uint32_t s = 0; s < block.segment_count; ++s) {
      const NormSegment& segment = block.segments[s];
      const float* x = TokenOf(segment, t, room);
      EachVector(segment.channels, [&](uint64_t c, int n) {
        const uint64_t at = channel + c;
        const Vec centred = LoadN(x + c, n) - LoadN(mean + at, n);
        StoreN(y + at,
               Activate(kActivation, Fma(centred, LoadN(scale + at, n), LoadN(shift + at, n))), n);
      });
      channel += segment.channels;
    }
    FromFloats(dst_room, block.channels, to, dst_dtype);
  }
}

void ApplyAny(const NormBlock& block, const float* mean, const float* scale, const float* shift,
              uint32_t activation, float* room, void* dst, int32_t dst_dtype, uint64_t dst_stride) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return Apply<UNETD_ACT_SILU>(block, mean, scale, shift, room, dst, dst_dtype, dst_stride);
    case UNETD_ACT_GELU:
      return Apply<UNETD_ACT_GELU>(block, mean, scale, shift, room, dst, dst_dtype, dst_stride);
    case UNETD_ACT_MISH:
      return Apply<UNETD_ACT_MISH>(block, mean, scale, shift, room, dst, dst_dtype, dst_stride);
    case UNETD_ACT_RELU:
      return Apply<UNETD_ACT_RELU>(block, mean, scale, shift, room, dst, dst_dtype, dst_stride);
    default:
      return Apply<UNETD_ACT_NONE>(block, mean, scale, shift, room, dst, dst_dtype, dst_stride);
  }
}

void LayerNorm(const NormBlock& block, const float* gamma, const float* beta, float eps,
               float* room, void* dst, int32_t dst_dtype, uint64_t dst_stride) {
  const uint64_t channels = block.channels;
  const float count = static_cast<float>(channels);
  float* centred = room + Padded(channels);
  float* dst_room = centred + Padded(channels);
  for (uint64_t t = 0; t < block.tokens; ++t) {
    const float* x = TokenOf(block.segments[0], t, room);
    const Vec mean =
        Set1(SumOf(channels, [&](uint64_t c, int n) { return LoadN(x + c, n); }) / count);
    EachVector(channels,
               [&](uint64_t c, int n) { StoreN(centred + c, LoadN(x + c, n) - mean, n); });
    const float squares = SumOf(channels, [&](uint64_t c, int n) {
      const Vec d = LoadN(centred + c, n);
      return d * d;
    });
    const Vec factor = Set1(1.0f / __builtin_sqrtf(squares / count + eps));
    void* to = Further(dst, dst_dtype, t * dst_stride);
    float* y = FloatsFor(to, dst_dtype, dst_room);
    EachVector(channels, [&](uint64_t c, int n) {
      Vec v = LoadN(centred + c, n) * factor;
      if (gamma != nullptr) v = Fma(v, LoadN(gamma + c, n), LoadN(beta + c, n));
      StoreN(y + c, v, n);
    });
    FromFloats(dst_room, channels, to, dst_dtype);
  }
}

}  // namespace

const NormKernels kNormKernels = {Moments, ApplyAny, LayerNorm};

}  // namespace unetd::cpu::UNETD_ISA
