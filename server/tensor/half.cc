#include "server/tensor/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "server/base/cpu.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

#if defined(__x86_64__)

__attribute__((target("avx2,f16c"))) uint64_t HalfToFloatBy8(const uint16_t* src, float* dst,
                                                             uint64_t count) {
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i));
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(halves));
  }
  return i;
}

__attribute__((target("avx2,f16c"))) uint64_t FloatToHalfBy8(const float* src, uint16_t* dst,
                                                             uint64_t count) {
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), halves);
  }
  return i;
}

#else

uint64_t HalfToFloatBy8(const uint16_t*, float*, uint64_t) { return 0; }
uint64_t FloatToHalfBy8(const float*, uint16_t*, uint64_t) { return 0; }

#endif

}  // namespace

uint16_t FloatToHalf(float value) { return SoftFloatToHalf(value); }
float HalfToFloat(uint16_t bits) { return SoftHalfToFloat(bits); }

void HalfToFloat(const uint16_t* src, float* dst, uint64_t count) {
  uint64_t i = ThisCpu().f16c && ThisCpu().avx2 ? HalfToFloatBy8(src, dst, count) : 0;
  for (; i < count; ++i) dst[i] = SoftHalfToFloat(src[i]);
}

void FloatToHalf(const float* src, uint16_t* dst, uint64_t count) {
  uint64_t i = ThisCpu().f16c && ThisCpu().avx2 ? FloatToHalfBy8(src, dst, count) : 0;
  for (; i < count; ++i) dst[i] = SoftFloatToHalf(src[i]);
}

void BFloat16ToFloat(const uint16_t* src, float* dst, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) dst[i] = BFloat16ToFloat(src[i]);
}

void FloatToBFloat16(const float* src, uint16_t* dst, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) dst[i] = FloatToBFloat16(src[i]);
}

}  // namespace unetd
