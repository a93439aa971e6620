// One vector of floats, as wide as the instruction set that the including file is compiled for: 16
// lanes with AVX-512 (F, BW, VL, DQ, with or without BF16), else 8 with AVX2, FMA and F16C. Only
// x_kernels.cc files include this; their code stands in namespace unetd::cpu::UNETD_ISA. Every
// function here is always inlined, so nothing leaks to other files.
//
// The same code path serves whole and partial vectors, so a value's bits do not depend on where a
// row ends.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "backends/cpu/types.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#if defined(__AVX512BF16__)
#define UNETD_ISA avx512_bf16
#else
#define UNETD_ISA avx512
#endif
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define UNETD_ISA avx2
#else
#error "simd.h needs -mavx2 -mfma -mf16c, or -mavx512f -mavx512bw -mavx512vl -mavx512dq"
#endif

#define UNETD_SIMD static inline __attribute__((always_inline))

namespace unetd::cpu::UNETD_ISA {

#if defined(__AVX512F__)
using Vec = __m512;  // + - * / work on it
using Mask = __mmask16;
constexpr int kLanes = 16;
constexpr int kRegisters = 32;
#else
using Vec = __m256;
using Mask = __m256;  // all ones or zeros a lane
constexpr int kLanes = 8;
constexpr int kRegisters = 16;
#endif

// ---- arithmetic ----
#if defined(__AVX512F__)

UNETD_SIMD Vec Zero() { return _mm512_setzero_ps(); }
UNETD_SIMD Vec Set1(float x) { return _mm512_set1_ps(x); }
UNETD_SIMD Vec Fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }    // a * b + c
UNETD_SIMD Vec Fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a * b
// Max and Min give b where either is NaN.
UNETD_SIMD Vec Max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
UNETD_SIMD Vec Min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
UNETD_SIMD Vec Abs(Vec a) { return _mm512_abs_ps(a); }
UNETD_SIMD Vec Sqrt(Vec a) { return _mm512_sqrt_ps(a); }
UNETD_SIMD Vec Round(Vec a) {  // to nearest, ties to even
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNETD_SIMD Mask Less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
UNETD_SIMD bool Any(Mask mask) { return mask != 0; }
UNETD_SIMD Vec Select(Mask mask, Vec yes, Vec no) { return _mm512_mask_blend_ps(mask, no, yes); }
// x * 2^n for an integral n; goes to 0, denormals and infinity as it should.
UNETD_SIMD Vec Scale2(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }

#else

UNETD_SIMD Vec Zero() { return _mm256_setzero_ps(); }
UNETD_SIMD Vec Set1(float x) { return _mm256_set1_ps(x); }
UNETD_SIMD Vec Fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
UNETD_SIMD Vec Fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
UNETD_SIMD Vec Max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
UNETD_SIMD Vec Min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
UNETD_SIMD Vec Abs(Vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
UNETD_SIMD Vec Sqrt(Vec a) { return _mm256_sqrt_ps(a); }
UNETD_SIMD Vec Round(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNETD_SIMD Mask Less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
UNETD_SIMD bool Any(Mask mask) { return _mm256_movemask_ps(mask) != 0; }
UNETD_SIMD Vec Select(Mask mask, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, mask); }
// In two halves, so that 2^n itself may lie outside the floats; |n| <= 252.
UNETD_SIMD Vec Scale2(Vec x, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  return x * _mm256_castsi256_ps(first) * _mm256_castsi256_ps(second);
}

#endif

// ---- memory: whole vectors, unaligned, and the first n lanes (0 <= n <= kLanes; others read as 0)
// ----
#if defined(__AVX512F__)

UNETD_SIMD __mmask16 FirstLanes(int n) {
  return static_cast<__mmask16>((1u << static_cast<unsigned>(n)) - 1u);
}
UNETD_SIMD Vec FromHalf(__m256i bits) { return _mm512_cvtph_ps(bits); }
UNETD_SIMD Vec FromBrain(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
UNETD_SIMD __m256i ToHalf(Vec v) {
  return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNETD_SIMD __m256i ToBrain(Vec v) {  // to nearest, ties to even; NaN stays NaN
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(v);  // takes denormals for 0
#else
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(kept, 16));
#endif
}
UNETD_SIMD Vec Load(const float* p) { return _mm512_loadu_ps(p); }
UNETD_SIMD Vec Load(const F16* p) {
  return FromHalf(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
UNETD_SIMD Vec Load(const BF16* p) {
  return FromBrain(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
UNETD_SIMD void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
UNETD_SIMD void Store(F16* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ToHalf(v));
}
UNETD_SIMD void Store(BF16* p, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ToBrain(v));
}
UNETD_SIMD Vec LoadPart(const float* p, int n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
UNETD_SIMD Vec LoadPart(const F16* p, int n) {
  return FromHalf(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}
UNETD_SIMD Vec LoadPart(const BF16* p, int n) {
  return FromBrain(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
}
UNETD_SIMD void StorePart(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
UNETD_SIMD void StorePart(F16* p, Vec v, int n) {
  _mm256_mask_storeu_epi16(p, FirstLanes(n), ToHalf(v));
}
UNETD_SIMD void StorePart(BF16* p, Vec v, int n) {
  _mm256_mask_storeu_epi16(p, FirstLanes(n), ToBrain(v));
}

#else

UNETD_SIMD __m256i FirstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
UNETD_SIMD Vec FromHalf(__m128i bits) { return _mm256_cvtph_ps(bits); }
UNETD_SIMD Vec FromBrain(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
UNETD_SIMD __m128i ToHalf(Vec v) {
  return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
UNETD_SIMD __m128i ToBrain(Vec v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i kept = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(kept), _mm256_extracti128_si256(kept, 1));
}
// The first n of eight 16-bit elements, without reading past them.
UNETD_SIMD __m128i Load16Part(const void* p, int n) {
  alignas(16) uint16_t lanes[8] = {};
  __builtin_memcpy(lanes, p, 2 * static_cast<size_t>(n));
  return _mm_load_si128(reinterpret_cast<const __m128i*>(lanes));
}
UNETD_SIMD void Store16Part(void* p, __m128i v, int n) {
  alignas(16) uint16_t lanes[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(lanes), v);
  __builtin_memcpy(p, lanes, 2 * static_cast<size_t>(n));
}
UNETD_SIMD Vec Load(const float* p) { return _mm256_loadu_ps(p); }
UNETD_SIMD Vec Load(const F16* p) {
  return FromHalf(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
UNETD_SIMD Vec Load(const BF16* p) {
  return FromBrain(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
UNETD_SIMD void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
UNETD_SIMD void Store(F16* p, Vec v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), ToHalf(v)); }
UNETD_SIMD void Store(BF16* p, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), ToBrain(v));
}
UNETD_SIMD Vec LoadPart(const float* p, int n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
UNETD_SIMD Vec LoadPart(const F16* p, int n) { return FromHalf(Load16Part(p, n)); }
UNETD_SIMD Vec LoadPart(const BF16* p, int n) { return FromBrain(Load16Part(p, n)); }
UNETD_SIMD void StorePart(float* p, Vec v, int n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
UNETD_SIMD void StorePart(F16* p, Vec v, int n) { Store16Part(p, ToHalf(v), n); }
UNETD_SIMD void StorePart(BF16* p, Vec v, int n) { Store16Part(p, ToBrain(v), n); }

#endif

UNETD_SIMD void PrefetchL1(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}
UNETD_SIMD void PrefetchL2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}

// ---- across lanes, in a fixed order (halves folded onto each other) ----
UNETD_SIMD float SumOf8(__m256 v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
UNETD_SIMD float MaxOf8(__m256 v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
#if defined(__AVX512F__)
UNETD_SIMD float Sum(Vec v) {
  return SumOf8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}
UNETD_SIMD float MaxLane(Vec v) {
  return MaxOf8(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}
#else
UNETD_SIMD float Sum(Vec v) { return SumOf8(v); }
UNETD_SIMD float MaxLane(Vec v) { return MaxOf8(v); }
#endif

// rows[i] lane j <-> rows[j] lane i, for a square of kLanes vectors.
#if defined(__AVX512F__)
UNETD_SIMD void Transpose(Vec (&r)[16]) {
  Vec t[16];
  for (int i = 0; i < 16; i += 4) {  // 4 x 4 blocks inside each 128-bit lane
    const Vec a = _mm512_unpacklo_ps(r[i], r[i + 1]);
    const Vec b = _mm512_unpackhi_ps(r[i], r[i + 1]);
    const Vec c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
    const Vec d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
    t[i] = _mm512_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // then 4 x 4 of those blocks
    const Vec a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    const Vec b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    const Vec c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    const Vec d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
#else
UNETD_SIMD void Transpose(Vec (&r)[8]) {
  Vec t[8];
  for (int i = 0; i < 8; i += 4) {
    const Vec a = _mm256_unpacklo_ps(r[i], r[i + 1]);
    const Vec b = _mm256_unpackhi_ps(r[i], r[i + 1]);
    const Vec c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
    const Vec d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
    t[i] = _mm256_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}
#endif

}  // namespace unetd::cpu::UNETD_ISA

#include "backends/cpu/simd_math.h"
