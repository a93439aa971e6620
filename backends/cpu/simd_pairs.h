// Pairs of bfloat16, one a 32-bit lane. With AVX512_BF16 the CPU multiplies pair by pair and adds
// both products, which float32 holds exactly, to a float32 sum. For x_kernels.cc files only.
#pragma once

#include "backends/cpu/simd.h"

namespace unetd::cpu::UNETD_ISA {

#if defined(__AVX512F__)

// Rounds v to bfloat16 and stores it as the first or second values of 16 pairs; the others stay.
UNETD_SIMD void StoreInPairs(BF16Pair* p, Vec v, bool second) {
  const __m512i words = _mm512_cvtepu16_epi32(ToBrain(v));
  const __mmask32 mask = second ? 0xaaaaaaaau : 0x55555555u;
  _mm512_mask_storeu_epi16(p, mask, second ? _mm512_slli_epi32(words, 16) : words);
}

// The first n of 32 values, 0 <= n <= 32; others are read as 0.
UNETD_SIMD __mmask32 FirstValues(uint32_t n) {
  return n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
}
UNETD_SIMD __m512i LoadValues(const BF16* p, uint32_t n) {
  return _mm512_maskz_loadu_epi16(FirstValues(n), p);
}
UNETD_SIMD void StoreValues(BF16* p, __m512i values, uint32_t n) {
  _mm512_mask_storeu_epi16(p, FirstValues(n), values);
}

#endif

#if defined(__AVX512BF16__)

using Pairs = __m512i;

UNETD_SIMD Pairs Load(const BF16Pair* p) { return _mm512_loadu_si512(p); }
UNETD_SIMD void Store(BF16Pair* p, Pairs v) { _mm512_storeu_si512(p, v); }
UNETD_SIMD Pairs Set1(const BF16Pair& pair) {
  int32_t word;
  __builtin_memcpy(&word, &pair, sizeof(word));
  return _mm512_set1_epi32(word);
}
// c + a0 * b0 + a1 * b1 in every lane.
UNETD_SIMD Vec Fma(Pairs a, Pairs b, Vec c) {
  return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
}
// (a, b) in every lane, rounded to nearest, ties to even.
UNETD_SIMD Pairs PairUp(Vec a, Vec b) {
  // In one vector: all of a, then all of b.
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(b, a);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}
// 2^x within a 1e-4th, for what is rounded to bfloat16 next; 0 and NaN as Exp2.
UNETD_SIMD Vec Exp2Short(Vec x) {
  x = Max(Set1(-152.0f), x);
  const Vec r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // x - floor(x)
  Vec p = Set1(7.80245226644311e-2f);
  p = Fma(p, r, Set1(2.26067155393132e-1f));
  p = Fma(p, r, Set1(6.95833540506447e-1f));
  p = Fma(p, r, Set1(9.99925218564010e-1f));
  return _mm512_scalef_ps(p, x);  // by 2^floor(x)
}

#endif

}  // namespace unetd::cpu::UNETD_ISA
