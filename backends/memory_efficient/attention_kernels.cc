// Online softmax: the tiles of keys go by once; when a lane's maximum rises, what it has summed is
// scaled down to it.
#include "backends/memory_efficient/kernels.h"
#include "backends/memory_efficient/pack.h"
#include "backends/memory_efficient/panel.h"

namespace unetd::memory_efficient::UNETD_ME_ISA {
namespace {

constexpr float kLog2E = 1.44269504088896341f;

// Without a mask the scores come in units of log2. With one they stay as they are and the mask is
// added to them, so that they round as softmax(scale * q.k + mask) does: -10000 rounds a score to a
// multiple of 2^-10.
UNETD_ME_INLINE float ScoreUnit(const Geometry& g) {
  return g.mask == MaskRows::kNone ? 1.0f : kLog2E;
}

// The maximum that is subtracted: 0 in a lane whose keys are all at -infinity so far, so that their
// weights are 0 and not NaN.
template <int V>
UNETD_ME_INLINE void Finite(const Vec (&highest)[V], Vec (&finite)[V]) {
  const Vec least = Splat(-__builtin_inff());
  for (int v = 0; v < V; ++v) finite[v] = IfLess(least, highest[v], highest[v], Splat(0.0f));
}

template <int V>
UNETD_ME_INLINE void LoadRow(const float* p, Vec (&row)[V]) {
  for (int v = 0; v < V; ++v) row[v] = Load(p + v * kLanes);
}
template <int V>
UNETD_ME_INLINE void StoreRow(float* p, const Vec (&row)[V]) {
  for (int v = 0; v < V; ++v) Store(p + v * kLanes, row[v]);
}

// A panel's state, laid out for V vectors.
template <int V>
struct State {
  float* out;
  float* highest;
  float* sum;

  State(const Geometry& g, float* state)
      : out(state), highest(state + uint64_t{g.head_dim} * V * kLanes), sum(highest + V * kLanes) {}
};

// Calls body<V>() with the least vectors that hold `width` queries.
template <typename Body>
UNETD_ME_INLINE void ForWidth(uint64_t width, const Body& body) {
  if (width <= kLanes) return body.template operator()<1>();
  if (kMostVecs == 2 || width <= 2 * kLanes) return body.template operator()<2>();
  body.template operator()<kMostVecs>();
}
UNETD_ME_INLINE uint64_t WidthOf(const Geometry& g, uint64_t count, uint64_t panel) {
  const uint64_t left = count - panel * g.panel;
  return left < g.panel ? left : g.panel;
}

// One panel and one tile of keys.
struct Step {
  const Geometry& g;
  const Head& head;
  uint64_t first_query, width;
  uint64_t first_key, keys;
  bool begins;  // the span's first tile
  float* scratch;
  float* queries;
  float* state;
};

UNETD_ME_INLINE void BringKeys(const Geometry& g, const Head& head, uint64_t first, uint64_t keys,
                               uint64_t channel, uint64_t depth, float* scratch) {
  Typed(head.key, g.key_dtype, [&](const auto* p) {
    PackColumns(p + first * g.key_stride + channel, g.key_stride, keys, depth, 1.0f,
                scratch + g.keys_at, kMostKeys);
  });
}
UNETD_ME_INLINE uint64_t ValuePitch(const Geometry& g) {
  return (uint64_t{g.depth} + 15) / 16 * 16;
}
UNETD_ME_INLINE void BringValues(const Geometry& g, const Head& head, uint64_t first, uint64_t keys,
                                 uint64_t channel, uint64_t depth, float* scratch) {
  Typed(head.value, g.value_dtype, [&](const auto* p) {
    PackRows(p + first * g.value_stride + channel, g.value_stride, keys, depth,
             scratch + g.values_at, ValuePitch(g));
  });
}

// body(first channel, channels) for the pieces of head_dim that are packed at a time.
template <typename Body>
UNETD_ME_INLINE void ForDepth(const Geometry& g, const Body& body) {
  for (uint64_t c = 0; c < g.head_dim; c += g.depth) {
    body(c, g.head_dim - c < g.depth ? g.head_dim - c : g.depth);
  }
}

template <int V>
Addend BringMask(const Step& s) {
  const Geometry& g = s.g;
  if (g.mask == MaskRows::kNone) return {nullptr, 0};
  if (g.mask == MaskRows::kShared) return {s.head.mask + s.first_key, 0};
  float* room = s.scratch + g.mask_at;
  if (s.width <= (V - 1) * kLanes) {
    __builtin_memset(room, 0, s.keys * V * kLanes * sizeof(float));
  }
  PackColumns(s.head.mask + s.first_query * g.mask_stride + s.first_key, g.mask_stride, s.width,
              s.keys, 1.0f, room, V * kLanes);
  return {room, V * kLanes};
}

template <int V>
void Begin(const Step& s) {
  const Geometry& g = s.g;
  const uint64_t floats = uint64_t{g.head_dim} * V * kLanes;
  // Lanes beyond the width stay 0: V may hold more vectors than the queries fill.
  if (s.width <= (V - 1) * kLanes) __builtin_memset(s.queries, 0, floats * sizeof(float));
  Typed(s.head.query, g.query_dtype, [&](const auto* p) {
    PackColumns(p + s.first_query * g.query_stride, g.query_stride, s.width, g.head_dim,
                g.scale * (kLog2E / ScoreUnit(g)), s.queries, V * kLanes);
  });
  const State<V> state(g, s.state);
  __builtin_memset(state.out, 0, floats * sizeof(float));
  for (int v = 0; v < V; ++v) {
    Store(state.highest + v * kLanes, Splat(-__builtin_inff()));
    Store(state.sum + v * kLanes, Splat(0.0f));
  }
}

template <int V>
void Scale(float* out, uint64_t rows, const Vec (&factor)[V]) {
  for (uint64_t r = 0; r < rows; ++r, out += V * kLanes) {
    for (int v = 0; v < V; ++v) Store(out + v * kLanes, Load(out + v * kLanes) * factor[v]);
  }
}

template <int V>
void Advance(const Step& s) {
  const Geometry& g = s.g;
  if (s.begins) Begin<V>(s);
  const State<V> state(g, s.state);
  float* scores = s.scratch + g.scores_at;
  const bool pieces = g.depth < g.head_dim;
  const Addend addend = BringMask<V>(s);
  Vec before[V], highest[V], finite[V], sum[V];
  LoadRow(state.highest, before);
  LoadRow(state.highest, highest);
  ForDepth(g, [&](uint64_t channel, uint64_t depth) {
    if (pieces) BringKeys(g, s.head, s.first_key, s.keys, channel, depth, s.scratch);
    Scores<V>(s.scratch + g.keys_at, s.keys, s.queries + channel * V * kLanes, depth, scores,
              channel == 0, channel + depth == g.head_dim, addend, highest);
  });
  LoadRow(state.sum, sum);
  Finite(highest, finite);
  bool rises = false;
  for (int v = 0; v < V; ++v) rises = rises || AnyLess(before[v], highest[v]);
  if (rises && !s.begins) {
    Vec factor[V];
    for (int v = 0; v < V; ++v) {
      factor[v] = PowerOfTwo((before[v] - finite[v]) * Splat(ScoreUnit(g)));
      sum[v] = sum[v] * factor[v];
    }
    Scale(state.out, g.head_dim, factor);
  }
  StoreRow(state.highest, highest);
  if (g.mask == MaskRows::kNone) {
    Weigh<V, false>(scores, s.keys, finite, 1.0f, sum);
  } else {
    Weigh<V, true>(scores, s.keys, finite, kLog2E, sum);
  }
  StoreRow(state.sum, sum);
  if (!g.copy_values) {
    const float* values = static_cast<const float*>(s.head.value) + s.first_key * g.value_stride;
    AddValues<V>(values, g.value_stride, g.head_dim, scores, s.keys, state.out);
    return;
  }
  ForDepth(g, [&](uint64_t channel, uint64_t depth) {
    if (pieces) BringValues(g, s.head, s.first_key, s.keys, channel, depth, s.scratch);
    AddValues<V>(s.scratch + g.values_at, ValuePitch(g), depth, scores, s.keys,
                 state.out + channel * V * kLanes);
  });
}

void Attend(const Geometry& g, const Head& head, const Span& span, float* scratch, float* states) {
  const uint64_t panels = g.panels(span.queries), end = span.first_key + span.keys;
  for (uint64_t key = span.first_key; key < end; key += g.key_tile) {
    const uint64_t keys = end - key < g.key_tile ? end - key : g.key_tile;
    const uint64_t next = key + keys, coming = end - next < g.key_tile ? end - next : g.key_tile;
    if (g.depth == g.head_dim) {
      BringKeys(g, head, key, keys, 0, g.depth, scratch);
      if (g.copy_values) BringValues(g, head, key, keys, 0, g.depth, scratch);
    }
    for (uint64_t p = 0; p < panels; ++p) {
      const uint64_t from = next + coming * p / panels, to = next + coming * (p + 1) / panels;
      Foresee(head.key, g.key_dtype, g.key_stride, g.depth, from, to);
      Foresee(head.value, g.value_dtype, g.value_stride, g.depth, from, to);
      const Step step = {g,
                         head,
                         span.first_query + p * g.panel,
                         WidthOf(g, span.queries, p),
                         key,
                         keys,
                         key == span.first_key,
                         scratch,
                         scratch + g.queries_at + p * g.panel * g.head_dim,
                         states + p * g.state_floats()};
      ForWidth(step.width, [&]<int V>() { Advance<V>(step); });
    }
  }
}

template <int V>
void MergePanel(const Geometry& g, uint32_t parts, uint64_t stride, float* first) {
  Vec highest[V], finite[V], sum[V];
  for (int v = 0; v < V; ++v) {
    highest[v] = Splat(-__builtin_inff());
    sum[v] = Splat(0.0f);
  }
  for (uint32_t i = 0; i < parts; ++i) {
    Vec part[V];
    LoadRow(State<V>(g, first + i * stride).highest, part);
    for (int v = 0; v < V; ++v) highest[v] = Larger(highest[v], part[v]);
  }
  Finite(highest, finite);
  const State<V> to(g, first);
  for (uint32_t i = 0; i < parts; ++i) {
    const State<V> from(g, first + i * stride);
    Vec factor[V];
    for (int v = 0; v < V; ++v) {
      const Vec down = Load(from.highest + v * kLanes) - finite[v];
      factor[v] = PowerOfTwo(down * Splat(ScoreUnit(g)));
      sum[v] = MulAdd(Load(from.sum + v * kLanes), factor[v], sum[v]);
    }
    if (i == 0) {
      Scale(to.out, g.head_dim, factor);
      continue;
    }
    for (uint64_t d = 0; d < g.head_dim; ++d) {
      for (int v = 0; v < V; ++v) {
        const uint64_t at = (d * V + static_cast<uint64_t>(v)) * kLanes;
        Store(to.out + at, MulAdd(Load(from.out + at), factor[v], Load(to.out + at)));
      }
    }
  }
  StoreRow(to.highest, highest);
  StoreRow(to.sum, sum);
}

void Merge(const Geometry& g, uint64_t queries, uint32_t parts, uint64_t stride, float* states) {
  for (uint64_t p = 0; p < g.panels(queries); ++p) {
    ForWidth(WidthOf(g, queries, p),
             [&]<int V>() { MergePanel<V>(g, parts, stride, states + p * g.state_floats()); });
  }
}

void Finish(const Geometry& g, const Head& head, uint64_t first_query, uint64_t queries,
            const float* states) {
  for (uint64_t p = 0; p < g.panels(queries); ++p) {
    const uint64_t width = WidthOf(g, queries, p), first = first_query + p * g.panel;
    ForWidth(width, [&]<int V>() {
      const State<V> state(g, const_cast<float*>(states) + p * g.state_floats());
      for (uint64_t at = 0; at < width; at += kLanes) {
        const Vec sum = Load(state.sum + at), one = Splat(1.0f);
        // Nothing weighed anything: 0 / 1.
        const Vec factor = one / IfLess(Splat(0.0f), sum, sum, sum + one);
        Typed(head.dst, g.dst_dtype, [&](auto* dst) {
          WriteColumns(state.out + at, V * kLanes, factor, Few(width - at), g.head_dim,
                       dst + (first + at) * g.dst_stride, g.dst_stride);
        });
      }
    });
  }
}

}  // namespace

const Kernels kKernels = {kLanes, kMostVecs* kLanes, Attend, Merge, Finish};

}  // namespace unetd::memory_efficient::UNETD_ME_ISA
