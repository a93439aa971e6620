// Transforming and packing Winograd weights. Included by winograd_kernels.cc alone.
#pragma once

#include "backends/cpu/gemm_tile.h"
#include "backends/cpu/winograd_transforms.h"

namespace unetd::cpu::UNETD_ISA {

// A vector of floats as doubles, in two halves.
#if defined(__AVX512F__)
using DoubleVec = __m512d;
UNETD_SIMD DoubleVec Set1Double(double x) { return _mm512_set1_pd(x); }
UNETD_SIMD DoubleVec FmaDouble(DoubleVec a, DoubleVec b, DoubleVec c) {
  return _mm512_fmadd_pd(a, b, c);
}
UNETD_SIMD void Widen(Vec v, DoubleVec (&out)[2]) {
  out[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
  out[1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}
UNETD_SIMD Vec Narrow(DoubleVec low, DoubleVec high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
#else
using DoubleVec = __m256d;
UNETD_SIMD DoubleVec Set1Double(double x) { return _mm256_set1_pd(x); }
UNETD_SIMD DoubleVec FmaDouble(DoubleVec a, DoubleVec b, DoubleVec c) {
  return _mm256_fmadd_pd(a, b, c);
}
UNETD_SIMD void Widen(Vec v, DoubleVec (&out)[2]) {
  out[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
  out[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}
UNETD_SIMD Vec Narrow(DoubleVec low, DoubleVec high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high),
                              1);
}
#endif

// G g G^T of one 3x3 filter a lane; component c goes to out + c * stride.
template <int kSize>
UNETD_SIMD void TransformFilter(const Vec* filter, float* out, uint64_t stride) {
  constexpr int kSide = kSize + 2;
  DoubleVec g[9][2];
  for (int i = 0; i < 9; ++i) Widen(filter[i], g[i]);
  for (int y = 0; y < kSide; ++y) {
    DoubleVec line[3][2];
    for (int x = 0; x < 3; ++x) {
      for (int h = 0; h < 2; ++h) {
        DoubleVec sum = Set1Double(Winograd<kSize>::kWeights[y][0]) * g[x][h];
        sum = FmaDouble(Set1Double(Winograd<kSize>::kWeights[y][1]), g[3 + x][h], sum);
        line[x][h] = FmaDouble(Set1Double(Winograd<kSize>::kWeights[y][2]), g[6 + x][h], sum);
      }
    }
    for (int x = 0; x < kSide; ++x) {
      DoubleVec both[2];
      for (int h = 0; h < 2; ++h) {
        DoubleVec sum = Set1Double(Winograd<kSize>::kWeights[x][0]) * line[0][h];
        sum = FmaDouble(Set1Double(Winograd<kSize>::kWeights[x][1]), line[1][h], sum);
        both[h] = FmaDouble(Set1Double(Winograd<kSize>::kWeights[x][2]), line[2][h], sum);
      }
      Store(out + static_cast<uint64_t>(y * kSide + x) * stride, Narrow(both[0], both[1]));
    }
  }
}

template <typename Stored>
UNETD_SIMD Vec RoundTo(Vec v) {
  Stored rounded[kLanes];
  Store(rounded, v);
  return Load(rounded);
}
UNETD_SIMD Vec RoundTo(int32_t dtype, Vec v) {
  switch (dtype) {
    case UNETD_DTYPE_F16:
      return RoundTo<F16>(v);
    case UNETD_DTYPE_BF16:
      return RoundTo<BF16>(v);
    default:
      return v;
  }
}

template <int kSize, typename Source>
void PackFilters(const void* source, int32_t stored_dtype, uint32_t out, uint32_t channels,
                 uint32_t panel, uint32_t begin, uint32_t end, float* packed) {
  const uint32_t panels = (out + kPanel - 1) / kPanel;
  const uint64_t stride = uint64_t{panels} * channels * kPanel;
  for (int v = 0; v < kPanelVectors; ++v) {
    const uint32_t first = panel * kPanel + static_cast<uint32_t>(v * kLanes);
    for (uint32_t c = begin; c < end; c += kLanes) {
      Vec filters[9 * kLanes];  // [channel][tap], an output channel a lane
      for (int square = 0; square < 9; ++square) {
        Vec values[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) {
          const uint64_t row = first + static_cast<uint32_t>(lane);
          const Source* in = static_cast<const Source*>(source) + (row * channels + c) * 9;
          values[lane] = row < out ? RoundTo(stored_dtype, Load(in + square * kLanes)) : Zero();
        }
        Transpose(values);
        for (int i = 0; i < kLanes; ++i) filters[square * kLanes + i] = values[i];
      }
      for (int i = 0; i < kLanes; ++i) {
        float* to = packed + (uint64_t{panel} * channels + c + static_cast<uint32_t>(i)) * kPanel +
                    v * kLanes;
        TransformFilter<kSize>(filters + 9 * i, to, stride);
      }
    }
  }
}

inline void PackWinograd(uint32_t size, const void* source, int32_t source_dtype,
                         int32_t stored_dtype, uint32_t out, uint32_t channels, uint32_t panel,
                         uint32_t begin, uint32_t end, float* packed) {
  const auto pack = [&](auto zero) {
    using Source = decltype(zero);
    size == 4
        ? PackFilters<4, Source>(source, stored_dtype, out, channels, panel, begin, end, packed)
        : PackFilters<2, Source>(source, stored_dtype, out, channels, panel, begin, end, packed);
  };
  switch (source_dtype) {
    case UNETD_DTYPE_F16:
      return pack(F16{});
    case UNETD_DTYPE_BF16:
      return pack(BF16{});
    default:
      return pack(0.0f);
  }
}

}  // namespace unetd::cpu::UNETD_ISA
