// A panel of V vectors of queries against a tile of keys: scores, weights, weighted values. Every
// lane adds its products in the order of channels and keys, whatever V is and wherever tiles end.
#pragma once

#include "backends/memory_efficient/kernels.h"
#include "backends/memory_efficient/vec.h"

namespace unetd::memory_efficient::UNETD_ME_ISA {

constexpr int kMostVecs = UNETD_ME_WIDE ? 4 : 2;
// Rows of a register tile of V vectors: 24 accumulators (AVX2: 12), no more rows than 12.
template <int V>
constexpr int kRows = V == 1 ? 12 : (UNETD_ME_WIDE ? 24 : 12) / V;

// What is added to the scores of a tile: `step` 0: one float a key; else a vector row a key.
struct Addend {
  const float* data;  // null: nothing
  uint64_t step;
};

// scores[r] (rows of V vectors) = keys[.][r] . queries, r < R; added to what `scores` holds unless
// `fresh`. With `last` the addend comes on top and `highest` is raised.
template <int V, int R>
void ScoreRows(const float* keys, const float* queries, uint64_t depth, float* scores, bool fresh,
               bool last, Addend addend, Vec (&highest)[V]) {
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = Splat(0.0f);
  }
  if (!fresh) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = Load(scores + (r * V + v) * kLanes);
    }
  }
  for (uint64_t d = 0; d < depth; ++d, queries += V * kLanes, keys += kMostKeys) {
    Vec q[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) q[v] = Load(queries + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec key = Splat(keys[r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = MulAdd(key, q[v], sum[r][v]);
    }
  }
  if (last && addend.data != nullptr) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        sum[r][v] = sum[r][v] + (addend.step == 0 ? Splat(addend.data[r])
                                                  : Load(addend.data + (r * V + v) * kLanes));
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (last) highest[v] = Larger(highest[v], sum[r][v]);
      Store(scores + (r * V + v) * kLanes, sum[r][v]);
    }
  }
}

// out[r] (rows of V vectors) += sum over j < count of values[j][r] * weights[j], r < R.
template <int V, int R>
void ValueRows(const float* values, uint64_t stride, const float* weights, uint64_t count,
               float* out) {
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = Load(out + (r * V + v) * kLanes);
  }
  for (uint64_t j = 0; j < count; ++j, values += stride, weights += V * kLanes) {
    Vec p[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) p[v] = Load(weights + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec value = Splat(values[r]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = MulAdd(value, p[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) Store(out + (r * V + v) * kLanes, sum[r][v]);
  }
}

// rows (1..R) as a constant.
template <int R, typename Body>
UNETD_ME_INLINE void Fixed(int rows, const Body& body) {
  if constexpr (R == 1) {
    body.template operator()<1>();
  } else {
    if (rows == R) {
      body.template operator()<R>();
    } else {
      Fixed<R - 1>(rows, body);
    }
  }
}

// body(begin, rows as a constant) for tiles of `count` that are as equal as can be.
template <int R, typename Body>
UNETD_ME_INLINE void Tiles(uint64_t count, const Body& body) {
  const uint64_t tiles = (count + R - 1) / R;
  for (uint64_t t = 0, begin = 0; t < tiles; ++t) {
    const uint64_t end = count * (t + 1) / tiles;
    Fixed<R>(static_cast<int>(end - begin),
             [&]<int kRowsNow>() { body.template operator()<kRowsNow>(begin); });
    begin = end;
  }
}

template <int V>
void Scores(const float* keys, uint64_t count, const float* queries, uint64_t depth, float* scores,
            bool fresh, bool last, Addend addend, Vec (&highest)[V]) {
  Tiles<kRows<V>>(count, [&]<int R>(uint64_t begin) {
    const Addend here = {addend.data == nullptr
                             ? nullptr
                             : addend.data + begin * (addend.step == 0 ? 1 : addend.step),
                         addend.step};
    ScoreRows<V, R>(keys + begin, queries, depth, scores + begin * V * kLanes, fresh, last, here,
                    highest);
  });
}

template <int V>
void AddValues(const float* values, uint64_t stride, uint64_t depth, const float* weights,
               uint64_t count, float* out) {
  Tiles<kRows<V>>(depth, [&]<int R>(uint64_t begin) {
    ValueRows<V, R>(values + begin, stride, weights, count, out + begin * V * kLanes);
  });
}

// scores -> weights 2^((score - highest) * unit), in place; they are added up in `sum`.
template <int V, bool kScaled>
void Weigh(float* scores, uint64_t count, const Vec (&highest)[V], float unit, Vec (&sum)[V]) {
  const Vec times = Splat(unit);
  for (uint64_t j = 0; j < count; ++j, scores += V * kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec x = Load(scores + v * kLanes) - highest[v];
      if (kScaled) x = x * times;
      const Vec p = PowerOfTwo(x);
      sum[v] = sum[v] + p;
      Store(scores + v * kLanes, p);
    }
  }
}

}  // namespace unetd::memory_efficient::UNETD_ME_ISA
