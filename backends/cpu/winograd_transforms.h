// Winograd's one-dimensional transforms: of inputs (B^T), of sums (A^T) and of weights (G). F(2, 3)
// by the points 0, 1, -1 and infinity; F(4, 3) by 0, 1, -1, 1/2, -2 and infinity, which lose fewer
// digits than the usual 0, +-1, +-2. Included by winograd_kernels.cc alone.
#pragma once

#include "backends/cpu/simd.h"

namespace unetd::cpu::UNETD_ISA {

template <int kSize>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr double kWeights[4][3] = {
      {-1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

  UNETD_SIMD void Input(const Vec (&d)[4], Vec (&v)[4]) {
    v[0] = d[2] - d[0];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  }
  UNETD_SIMD void Output(const Vec (&m)[4], Vec (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
  }
};

template <>
struct Winograd<4> {
  static constexpr double kWeights[6][3] = {{1, 0, 0},
                                            {1 / 3.0, 1 / 3.0, 1 / 3.0},
                                            {-1 / 3.0, 1 / 3.0, -1 / 3.0},
                                            {-16 / 15.0, -8 / 15.0, -4 / 15.0},
                                            {1 / 15.0, -2 / 15.0, 4 / 15.0},
                                            {0, 0, 1}};

  UNETD_SIMD void Input(const Vec (&d)[6], Vec (&v)[6]) {
    const Vec a = d[3] - d[1];
    const Vec b = d[4] - d[2];
    v[0] = Fma(Set1(1.5f), a, Fma(Set1(-2.0f), d[2], d[0] + d[4]));
    v[1] = Fma(Set1(2.5f), d[3], Fma(Set1(0.5f), d[2], d[4] - d[1]));
    v[2] = Fma(Set1(-2.5f), d[2], Fma(Set1(0.5f), d[3], d[4] + d[1]));
    v[3] = Fma(Set1(2.0f), a, b);
    v[4] = Fma(Set1(-0.5f), a, b);
    v[5] = Fma(Set1(1.5f), b, Fma(Set1(-2.0f), d[3], d[1] + d[5]));
  }
  UNETD_SIMD void Output(const Vec (&m)[6], Vec (&y)[4]) {
    const Vec a = m[1] + m[2];
    const Vec b = m[1] - m[2];
    y[0] = m[0] + a + (m[3] + m[4]);
    y[1] = Fma(Set1(-2.0f), m[4], Fma(Set1(0.5f), m[3], b));
    y[2] = Fma(Set1(4.0f), m[4], Fma(Set1(0.25f), m[3], a));
    y[3] = Fma(Set1(-8.0f), m[4], Fma(Set1(0.125f), m[3], b + m[5]));
  }
};

}  // namespace unetd::cpu::UNETD_ISA
