// Vectors of floats for the kernel files, which are compiled once for AVX2 (8 lanes) and once for
// AVX-512 (16). Only files that end in _kernels.cc, and the headers that only those include, may
// include this. Every access names how many lanes it touches, so a ragged edge takes the same path,
// and gives the same bits, as the middle.
#pragma once

#include <immintrin.h>

#include <cstdint>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define UNETD_ME_ISA avx512
#define UNETD_ME_WIDE 1
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define UNETD_ME_ISA avx2
#define UNETD_ME_WIDE 0
#else
#error "vec.h needs AVX2, FMA and F16C, or AVX-512 F, BW, VL and DQ"
#endif

// Nothing may be emitted as a shared function: the linker would keep one instruction set's copy.
#define UNETD_ME_INLINE static inline __attribute__((always_inline))

namespace unetd::memory_efficient::UNETD_ME_ISA {

// Storage types that only kernels see.
struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

#if UNETD_ME_WIDE

using Vec = __m512;
constexpr int kLanes = 16;

UNETD_ME_INLINE Vec Splat(float x) { return _mm512_set1_ps(x); }
UNETD_ME_INLINE Vec MulAdd(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// The second operand where either is NaN.
UNETD_ME_INLINE Vec Larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
UNETD_ME_INLINE bool AnyLess(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) != 0; }
// a < b ? yes : no, a lane at a time; `no` where either is NaN.
UNETD_ME_INLINE Vec IfLess(Vec a, Vec b, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
UNETD_ME_INLINE __mmask16 Lanes(int n) { return static_cast<__mmask16>(0xffffu >> (16 - n)); }

UNETD_ME_INLINE Vec Load(const float* p) { return _mm512_loadu_ps(p); }
UNETD_ME_INLINE void Store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
// The first n lanes, 1 <= n <= kLanes; the others are 0, and their memory is not touched.
UNETD_ME_INLINE Vec Load(const float* p, int n) { return _mm512_maskz_loadu_ps(Lanes(n), p); }
UNETD_ME_INLINE Vec Load(const Half* p, int n) {
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(Lanes(n), p));
}
UNETD_ME_INLINE Vec Load(const Brain* p, int n) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(Lanes(n), p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
UNETD_ME_INLINE void Store(float* p, Vec v, int n) { _mm512_mask_storeu_ps(p, Lanes(n), v); }
UNETD_ME_INLINE void Store(Half* p, Vec v, int n) {
  _mm256_mask_storeu_epi16(p, Lanes(n),
                           _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
UNETD_ME_INLINE void Store(Brain* p, Vec v, int n) {  // to nearest even; a NaN stays one
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i tie = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, tie), _mm512_set1_epi32(0x7fff));
  const __m512i all = _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                                            _mm512_set1_epi32(0x7fc00000));
  _mm256_mask_storeu_epi16(p, Lanes(n), _mm512_cvtepi32_epi16(_mm512_srli_epi32(all, 16)));
}

#else

using Vec = __m256;
constexpr int kLanes = 8;

UNETD_ME_INLINE Vec Splat(float x) { return _mm256_set1_ps(x); }
UNETD_ME_INLINE Vec MulAdd(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
UNETD_ME_INLINE Vec Larger(Vec a, Vec b) { return _mm256_max_ps(a, b); }
UNETD_ME_INLINE bool AnyLess(Vec a, Vec b) {
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) != 0;
}
UNETD_ME_INLINE Vec IfLess(Vec a, Vec b, Vec yes, Vec no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
UNETD_ME_INLINE __m256i Lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
// Eight 16-bit elements, of which n are in memory.
UNETD_ME_INLINE __m128i Load16(const void* p, int n) {
  if (n == 8) return _mm_loadu_si128(static_cast<const __m128i*>(p));
  uint16_t some[8] = {};
  __builtin_memcpy(some, p, static_cast<unsigned>(n) * 2);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(some));
}
UNETD_ME_INLINE void Store16(void* p, __m128i v, int n) {
  if (n == 8) return _mm_storeu_si128(static_cast<__m128i*>(p), v);
  uint16_t some[8];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(some), v);
  __builtin_memcpy(p, some, static_cast<unsigned>(n) * 2);
}

UNETD_ME_INLINE Vec Load(const float* p) { return _mm256_loadu_ps(p); }
UNETD_ME_INLINE void Store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
UNETD_ME_INLINE Vec Load(const float* p, int n) { return _mm256_maskload_ps(p, Lanes(n)); }
UNETD_ME_INLINE Vec Load(const Half* p, int n) { return _mm256_cvtph_ps(Load16(p, n)); }
UNETD_ME_INLINE Vec Load(const Brain* p, int n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(Load16(p, n)), 16));
}
UNETD_ME_INLINE void Store(float* p, Vec v, int n) { _mm256_maskstore_ps(p, Lanes(n), v); }
UNETD_ME_INLINE void Store(Half* p, Vec v, int n) {
  Store16(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), n);
}
UNETD_ME_INLINE void Store(Brain* p, Vec v, int n) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i tie = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, tie), _mm256_set1_epi32(0x7fff));
  const __m256 all =
      _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                       _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  const __m256i high = _mm256_srli_epi32(_mm256_castps_si256(all), 16);
  Store16(p, _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)), n);
}

#endif

// 2^x for x <= 0, within 2 units in the last place; exactly 1 for 0, and 0 for -infinity and what
// is far below, so that masked keys weigh nothing. NaN stays NaN.
UNETD_ME_INLINE Vec PowerOfTwo(Vec x) {
#if UNETD_ME_WIDE
  x = Larger(Splat(-160.0f), x);
  const Vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  x = Larger(Splat(-127.0f), x);  // 2^-127 has the exponent field 0, which makes it 0 below
  const Vec n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
  const Vec r = x - n;
  // The best of degree 5 on [-1/2, 1/2] with 2^0 = 1: 1.1e-7.
  Vec p = Splat(0x1.5bba14p-10f);
  p = MulAdd(p, r, Splat(0x1.3cea88p-7f));
  p = MulAdd(p, r, Splat(0x1.c6b752p-5f));
  p = MulAdd(p, r, Splat(0x1.ebf9bcp-3f));
  p = MulAdd(p, r, Splat(0x1.62e42ap-1f));
  p = MulAdd(p, r, Splat(1.0f));
#if UNETD_ME_WIDE
  return _mm512_scalef_ps(p, n);
#else
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return p * _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
#endif
}

// square[i] lane j <-> square[j] lane i. Pairs at a distance of 1, 2, 4, ... rows exchange halves.
#if UNETD_ME_WIDE
UNETD_ME_INLINE void Transpose(Vec (&square)[16]) {
  Vec a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(square[i], square[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(square[i], square[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const Vec p = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
    const Vec q = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xdd);
    const Vec r = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
    const Vec s = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xdd);
    square[i] = _mm512_shuffle_f32x4(p, r, 0x88);
    square[i + 4] = _mm512_shuffle_f32x4(q, s, 0x88);
    square[i + 8] = _mm512_shuffle_f32x4(p, r, 0xdd);
    square[i + 12] = _mm512_shuffle_f32x4(q, s, 0xdd);
  }
}
#else
UNETD_ME_INLINE void Transpose(Vec (&square)[8]) {
  Vec a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(square[i], square[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(square[i], square[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    square[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    square[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}
#endif

}  // namespace unetd::memory_efficient::UNETD_ME_ISA
