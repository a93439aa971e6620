// The register tile of the matrix kernel: `rows` rows of A (packed with a fixed stride, so that one
// pointer reaches them all) times one panel of B. A step of k is one value (float32 products) or a
// pair of bfloat16 values, a 32-bit word of a row of A either way. For x_kernels.cc files only.
#pragma once

#include "backends/cpu/simd_pairs.h"

#if defined(__clang__)
#define UNETD_UNROLL _Pragma("unroll")
#else
#define UNETD_UNROLL _Pragma("GCC unroll 16")
#endif

namespace unetd::cpu::UNETD_ISA {

constexpr int kPanelVectors = 2;
constexpr int kPanel = kPanelVectors * kLanes;
constexpr int kTileRows = kRegisters == 32 ? 14 : 6;
// Steps from one packed row of A to the next: an odd number of cache lines, so that the rows of a
// tile do not meet in one cache set.
constexpr int kRowStride = 512 + 16;

// A step of a row of A that meets weights of this type.
template <typename Weight>
struct Step {
  using Type = float;
};
template <>
struct Step<BF16Pair> {
  using Type = BF16Pair;
};

template <int kLines>
UNETD_SIMD void PrefetchLines(const char* from) {
  UNETD_UNROLL for (int i = 0; i < kLines; ++i) PrefetchL2(from + 64 * i);
}

// What a tile brings to L2 while it computes: `lines` cache lines every four steps (1, 2, 4 or 8).
struct Prefetch {
  const char* from;
  uint32_t lines;
};

// c[r, n] = (add ? c[r, n] : 0) + sum over k of a[r, k] * b[k, n], for `k` steps, kRows rows and
// the panel's first kVectors vectors. c's rows are kPanel apart.
template <int kRows, int kVectors, typename Weight>
void Tile(const typename Step<Weight>::Type* a, const void* panel, uint32_t k, float* c, bool add,
          Prefetch next) {
  const Weight* b = static_cast<const Weight*>(panel);
  Vec sum[kRows][kVectors];
  UNETD_UNROLL for (int r = 0; r < kRows; ++r) {
    UNETD_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] = Zero();
  }
  const auto step = [&](int i) __attribute__((always_inline)) {
    decltype(Load(b)) column[kVectors];
    UNETD_UNROLL for (int v = 0; v < kVectors; ++v) column[v] = Load(b + i * kPanel + v * kLanes);
    UNETD_UNROLL for (int r = 0; r < kRows; ++r) {
      const auto x = Set1(a[r * kRowStride + i]);
      UNETD_UNROLL for (int v = 0; v < kVectors; ++v) sum[r][v] = Fma(x, column[v], sum[r][v]);
    }
  };
  uint32_t left = k;
  for (; left >= 4; left -= 4) {
    step(0);
    step(1);
    PrefetchLines<1>(next.from);
    if (next.lines > 1) PrefetchLines<1>(next.from + 64);
    step(2);
    if (next.lines > 2) PrefetchLines<2>(next.from + 128);
    step(3);
    if (next.lines > 4) PrefetchLines<4>(next.from + 256);
    next.from += next.lines * 64;
    a += 4;
    b += 4 * kPanel;
  }
  for (; left > 0; --left) {
    step(0);
    ++a;
    b += kPanel;
  }
  UNETD_UNROLL for (int r = 0; r < kRows; ++r) {
    UNETD_UNROLL for (int v = 0; v < kVectors; ++v) {
      float* out = c + r * kPanel + v * kLanes;
      Store(out, add ? Load(out) + sum[r][v] : sum[r][v]);
    }
  }
}

template <typename StepType>
using TileOf = void (*)(const StepType* a, const void* panel, uint32_t k, float* c, bool add,
                        Prefetch next);
using TileFn = TileOf<float>;

// The share of tile `tile` of `tiles` in bringing the `bytes` at `next` while k steps are computed.
UNETD_SIMD Prefetch PrefetchShare(const void* next, uint64_t bytes, uint32_t k, uint32_t tile,
                                  uint32_t tiles) {
  const uint64_t per_line = 16 * uint64_t{k} * tiles;  // of bytes: 64 in k / 4 steps of each tile
  const uint64_t wanted = (bytes + per_line - 1) / per_line;
  return {static_cast<const char*>(next) + bytes * tile / tiles, wanted > 4   ? 8u
                                                                 : wanted > 2 ? 4u
                                                                 : wanted > 1 ? 2u
                                                                              : 1u};
}

// [rows - 1] of a tile with this many vectors.
template <int kVectors, typename Weight>
struct Tiles {
#if defined(__AVX512F__)
  static constexpr TileOf<typename Step<Weight>::Type> kByRows[kTileRows] = {
      Tile<1, kVectors, Weight>,  Tile<2, kVectors, Weight>,  Tile<3, kVectors, Weight>,
      Tile<4, kVectors, Weight>,  Tile<5, kVectors, Weight>,  Tile<6, kVectors, Weight>,
      Tile<7, kVectors, Weight>,  Tile<8, kVectors, Weight>,  Tile<9, kVectors, Weight>,
      Tile<10, kVectors, Weight>, Tile<11, kVectors, Weight>, Tile<12, kVectors, Weight>,
      Tile<13, kVectors, Weight>, Tile<14, kVectors, Weight>};
#else
  static constexpr TileOf<typename Step<Weight>::Type> kByRows[kTileRows] = {
      Tile<1, kVectors, Weight>, Tile<2, kVectors, Weight>, Tile<3, kVectors, Weight>,
      Tile<4, kVectors, Weight>, Tile<5, kVectors, Weight>, Tile<6, kVectors, Weight>};
#endif
};

}  // namespace unetd::cpu::UNETD_ISA
