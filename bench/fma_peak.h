// The rate of multiply-adds that the CPU reaches with nothing in their way: what kernels are
// compared with.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <atomic>

#include "bench/spin_gang.h"

namespace unetd::bench {

inline constexpr int kPeakSteps = 200000;
inline constexpr int kChains = 12;

__attribute__((target("avx512f"))) inline float Peak512() {
  __m512 s0 = _mm512_set1_ps(1), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0,
         s8 = s0, s9 = s0, s10 = s0, s11 = s0;
  const __m512 a = _mm512_set1_ps(0.9f), b = _mm512_set1_ps(0.1f);
  for (int i = 0; i < kPeakSteps; ++i) {
    s0 = _mm512_fmadd_ps(s0, a, b), s1 = _mm512_fmadd_ps(s1, a, b);
    s2 = _mm512_fmadd_ps(s2, a, b), s3 = _mm512_fmadd_ps(s3, a, b);
    s4 = _mm512_fmadd_ps(s4, a, b), s5 = _mm512_fmadd_ps(s5, a, b);
    s6 = _mm512_fmadd_ps(s6, a, b), s7 = _mm512_fmadd_ps(s7, a, b);
    s8 = _mm512_fmadd_ps(s8, a, b), s9 = _mm512_fmadd_ps(s9, a, b);
    s10 = _mm512_fmadd_ps(s10, a, b), s11 = _mm512_fmadd_ps(s11, a, b);
    asm volatile("" : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5));
    asm volatile("" : "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10), "+v"(s11));
  }
  float out[16];
  _mm512_storeu_ps(out, s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
  return out[0];
}

__attribute__((target("avx2,fma"))) inline float Peak256() {
  __m256 s0 = _mm256_set1_ps(1), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0,
         s8 = s0, s9 = s0, s10 = s0, s11 = s0;
  const __m256 a = _mm256_set1_ps(0.9f), b = _mm256_set1_ps(0.1f);
  for (int i = 0; i < kPeakSteps; ++i) {
    s0 = _mm256_fmadd_ps(s0, a, b), s1 = _mm256_fmadd_ps(s1, a, b);
    s2 = _mm256_fmadd_ps(s2, a, b), s3 = _mm256_fmadd_ps(s3, a, b);
    s4 = _mm256_fmadd_ps(s4, a, b), s5 = _mm256_fmadd_ps(s5, a, b);
    s6 = _mm256_fmadd_ps(s6, a, b), s7 = _mm256_fmadd_ps(s7, a, b);
    s8 = _mm256_fmadd_ps(s8, a, b), s9 = _mm256_fmadd_ps(s9, a, b);
    s10 = _mm256_fmadd_ps(s10, a, b), s11 = _mm256_fmadd_ps(s11, a, b);
    asm volatile("" : "+x"(s0), "+x"(s1), "+x"(s2), "+x"(s3), "+x"(s4), "+x"(s5));
    asm volatile("" : "+x"(s6), "+x"(s7), "+x"(s8), "+x"(s9), "+x"(s10), "+x"(s11));
  }
  float out[8];
  _mm256_storeu_ps(out, s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11);
  return out[0];
}

// GFLOP/s of all threads together, the best of a few tries.
inline double MeasurePeak(SpinGang* gang, bool avx512) {
  static std::atomic<float> sink;
  double best = 0;
  const uint32_t threads = gang->abi()->threads;
  for (int i = 0; i < 8; ++i) {
    gang->TakeBusy();
    gang->Parallel(
        threads,
        [](void* wide, uint32_t, uint32_t) { sink = wide != nullptr ? Peak512() : Peak256(); },
        avx512 ? gang : nullptr);
    const double flops = 2.0 * (avx512 ? 16 : 8) * kChains * kPeakSteps * threads;
    best = std::max(best, flops * threads / gang->TakeBusy() / 1e9);
  }
  return best;
}

}  // namespace unetd::bench
