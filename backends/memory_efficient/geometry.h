// How a problem is cut into blocks: a fixed rule of the descriptor and of the CPU's vectors, never
// of threads or rows, so that a row's bits are its own.
#pragma once

#include <cstdint>

#include "backends/memory_efficient/kernels.h"

namespace unetd::memory_efficient {

// A panel holds `vector` to `widest` queries.
Geometry TiledGeometry(const unetd_op_desc& desc, const Kernels& kernels);

// For few queries: `parts` parts of the keys, each a task; a task holds one panel.
struct Split {
  uint32_t parts = 1;      // 1: not worth it
  uint64_t keys = 0;       // of a part; the last may have fewer
  Geometry geometry = {};  // where parts > 1

  uint64_t panels() const { return geometry.panels(geometry.queries); }
};
Split SplitGeometry(const unetd_op_desc& desc, const Kernels& kernels);

}  // namespace unetd::memory_efficient
