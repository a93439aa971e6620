// The functions of simd.h: exponentials and activations of one vector. Included by simd.h alone.
#pragma once

namespace unetd::cpu::UNETD_ISA {

// 2^x within 1 ulp; 0 below -150 and for -infinity, infinity from 128, NaN stays NaN. +infinity may
// give NaN.
UNETD_SIMD Vec Exp2(Vec x) {
#if !defined(__AVX512F__)
  x = Min(Set1(130.0f), x);  // the range of Scale2
#endif
  x = Max(Set1(-152.0f), x);
  const Vec n = Round(x);
  const Vec r = x - n;
  Vec p = Set1(1.535336188319500e-4f);
  p = Fma(p, r, Set1(1.339887440266574e-3f));
  p = Fma(p, r, Set1(9.618437357674640e-3f));
  p = Fma(p, r, Set1(5.550332471162809e-2f));
  p = Fma(p, r, Set1(2.402264791363012e-1f));
  p = Fma(p, r, Set1(6.931472028550421e-1f));
  p = Fma(p, r, Set1(1.0f));
  return Scale2(p, n);
}

// e^x within 1 ulp; 0 and infinity outside the floats' range, NaN stays NaN.
UNETD_SIMD Vec Exp(Vec x) {
  // Clamped so that n stays small; both ends still give 0 and infinity.
  x = Max(Set1(-106.0f), Min(Set1(90.0f), x));
  const Vec n = Round(x * Set1(1.44269504088896341f));
  Vec r = Fnma(n, Set1(0.693359375f), x);  // ln 2 in two parts, the first exact times n
  r = Fnma(n, Set1(-2.12194440e-4f), r);
  Vec p = Set1(1.9875691500e-4f);
  p = Fma(p, r, Set1(1.3981999507e-3f));
  p = Fma(p, r, Set1(8.3334519073e-3f));
  p = Fma(p, r, Set1(4.1665795894e-2f));
  p = Fma(p, r, Set1(1.6666665459e-1f));
  p = Fma(p, r, Set1(5.0000001201e-1f));
  p = Fma(p, r * r, r) + Set1(1.0f);
  return Scale2(p, n);
}

// x * Phi(x), Phi the normal distribution = (1 + erf(x / sqrt 2)) / 2, within 2.5e-7 of max(1, |x
// Phi(x)|). The tail Phi(-|x|) comes from Abramowitz and Stegun 7.1.26 (coefficients halved), so
// that a negative x cancels nothing.
UNETD_SIMD Vec Gelu(Vec x) {
  const Vec t = Set1(1.0f) / Fma(Abs(x), Set1(0.3275911f * 0.70710678f), Set1(1.0f));
  Vec p = Set1(0.5f * 1.061405429f);
  p = Fma(p, t, Set1(0.5f * -1.453152027f));
  p = Fma(p, t, Set1(0.5f * 1.421413741f));
  p = Fma(p, t, Set1(0.5f * -0.284496736f));
  p = Fma(p, t, Set1(0.5f * 0.254829592f));
  const Vec tail = p * t * Exp(x * x * Set1(-0.5f));
  return x * Select(Less(Zero(), x), Set1(1.0f) - tail, tail);
}
UNETD_SIMD Vec Sigmoid(Vec x) { return Set1(1.0f) / (Set1(1.0f) + Exp(Zero() - x)); }
UNETD_SIMD Vec Silu(Vec x) { return x / (Set1(1.0f) + Exp(Zero() - x)); }
// x * tanh(ln(1 + e^x)) = x * n / (n + 2) with n = e^x (e^x + 2); x itself once that ratio rounds
// to 1.
UNETD_SIMD Vec Mish(Vec x) {
  const Vec e = Exp(Min(Set1(20.0f), x));
  const Vec n = e * (e + Set1(2.0f));
  return Select(Less(Set1(20.0f), x), x, x * n / (n + Set1(2.0f)));
}
UNETD_SIMD Vec Relu(Vec x) { return Max(Zero(), x); }

// UNETD_ACT_*, but GEGLU, of one vector. The switch is hoisted by a caller that keeps `activation`
// constant.
UNETD_SIMD Vec Activate(uint32_t activation, Vec x) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return Silu(x);
    case UNETD_ACT_GELU:
      return Gelu(x);
    case UNETD_ACT_MISH:
      return Mish(x);
    case UNETD_ACT_RELU:
      return Relu(x);
    default:
      return x;
  }
}

}  // namespace unetd::cpu::UNETD_ISA
