#include "backends/memory_efficient/geometry.h"

#include <algorithm>

namespace unetd::memory_efficient {
namespace {

constexpr uint64_t kKeyTile = 64;
constexpr uint64_t kBlockFloats = 64 * 1024;  // a block's queries, and its sums, stay in L2
constexpr uint64_t kFewTasks = 16;            // a row should have as many, to be shared
constexpr uint64_t kMostUnits = 64;           // of parts, panels and heads of a split row
constexpr uint64_t kLeastPart = 128;          // keys that pay for being summed apart
constexpr uint64_t kMostParts = 16;
constexpr uint64_t kStatesFloats = 4 * 1024 * 1024;  // of all the states of a split row

uint64_t Quotient(uint64_t a, uint64_t b) { return (a + b - 1) / b; }
uint64_t Multiple(uint64_t a, uint64_t of) { return Quotient(a, of) * of; }

// Tiles of about kKeyTile keys and as equal as can be: 77 keys are one tile, 130 are two of 65.
uint64_t KeyTile(uint64_t keys) {
  const uint64_t tiles = std::max<uint64_t>(1, (keys + kKeyTile / 2) / kKeyTile);
  return Quotient(keys, tiles);
}

// What the descriptor says, and the widest panel that its queries fill and whose channels are not
// too many.
Geometry Describe(const unetd_op_desc& desc, const Kernels& kernels) {
  const unetd_view* args = desc.args;
  Geometry g = {};
  g.queries = args[UNETD_ARG_SRC0].tokens;
  g.keys = args[UNETD_ARG_KEY].tokens;
  g.head_dim = desc.u.attention.head_dim;
  const uint64_t mask_rows = args[UNETD_ARG_MASK].tokens;
  g.mask = mask_rows == 0 ? MaskRows::kNone : mask_rows == 1 ? MaskRows::kShared : MaskRows::kEach;
  g.query_dtype = args[UNETD_ARG_SRC0].dtype;
  g.key_dtype = args[UNETD_ARG_KEY].dtype;
  g.value_dtype = args[UNETD_ARG_VALUE].dtype;
  g.dst_dtype = args[UNETD_ARG_DST].dtype;
  g.query_stride = args[UNETD_ARG_SRC0].stride;
  g.key_stride = args[UNETD_ARG_KEY].stride;
  g.value_stride = args[UNETD_ARG_VALUE].stride;
  g.dst_stride = args[UNETD_ARG_DST].stride;
  g.mask_stride = args[UNETD_ARG_MASK].stride;
  g.scale = desc.u.attention.scale;
  g.panel = kernels.widest_panel;
  while (g.panel > kernels.lanes &&
         (g.panel / 2 >= g.queries || uint64_t{g.panel} * g.head_dim > kBlockFloats)) {
    g.panel /= 2;
  }
  g.depth = std::min(g.head_dim, kMostDepth);
  // Short rows far apart cost more than a copy of them.
  g.copy_values = g.head_dim < 64 || g.value_dtype != UNETD_DTYPE_F32;
  return g;
}

// Lays out a thread's workspace. `states`: with room for the states of a block.
void LayOut(bool states, Geometry* g) {
  uint64_t at = 0;
  const auto take = [&at](uint64_t floats) {
    const uint64_t here = at;
    at += Multiple(floats, 16);
    return here;
  };
  g->queries_at = take(g->query_block * g->head_dim);
  g->states_at = take(states ? g->query_block / g->panel * g->state_floats() : 0);
  g->scores_at = take(uint64_t{kMostKeys} * g->panel);
  g->mask_at = take(g->mask == MaskRows::kEach ? uint64_t{kMostKeys} * g->panel : 0);
  g->keys_at = take(uint64_t{g->depth} * kMostKeys);
  g->values_at = take(g->copy_values ? kMostKeys * Multiple(g->depth, 16) : 0);
  g->floats = at;
}

}  // namespace

Geometry TiledGeometry(const unetd_op_desc& desc, const Kernels& kernels) {
  Geometry g = Describe(desc, kernels);
  const uint64_t heads = desc.u.attention.heads;
  // Panels that share one packing of each tile of keys. Beyond kMostDepth channels each packs for
  // itself, so that what is packed stays small.
  g.query_block = std::max<uint64_t>(256, g.panel);
  while (g.query_block > g.panel &&
         (g.head_dim > kMostDepth || g.query_block * g.head_dim > kBlockFloats ||
          g.query_block / 2 >= g.queries ||
          (g.query_block > kKeyTile && heads * Quotient(g.queries, g.query_block) < kFewTasks))) {
    g.query_block /= 2;
  }
  g.key_tile = KeyTile(g.keys);
  LayOut(true, &g);
  return g;
}

Split SplitGeometry(const unetd_op_desc& desc, const Kernels& kernels) {
  Split split;
  Geometry g = Describe(desc, kernels);
  g.query_block = g.panel;
  // Not by panels, which differ between CPUs.
  const uint64_t units = desc.u.attention.heads * Quotient(g.queries, 32);
  uint64_t parts = std::min({kMostUnits / units, kMostParts, g.keys / kLeastPart});
  if (parts > 1) {
    const uint64_t states = desc.u.attention.heads * g.panels(g.queries) * g.state_floats();
    parts = std::min(parts, kStatesFloats / states);
  }
  if (parts < 2) return split;
  split.keys = Multiple(Quotient(g.keys, parts), kKeyTile);
  split.parts = static_cast<uint32_t>(Quotient(g.keys, split.keys));
  g.key_tile = KeyTile(split.keys);
  LayOut(false, &g);
  split.geometry = g;
  return split;
}

}  // namespace unetd::memory_efficient
