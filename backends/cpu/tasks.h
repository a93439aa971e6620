// Cutting a run into tasks: by a fixed rule of the descriptor, never by threads or rows.
#pragma once

#include <cstdint>

#include "backends/cpu/op_table.h"

namespace unetd::cpu {

// body(row, task, thread) for every row and every task of 0..tasks_per_row-1.
template <typename Body>
void ParallelRows(const unetd_exec& exec, uint32_t tasks_per_row, const Body& body) {
  const uint64_t all = uint64_t{exec.rows} * tasks_per_row;
  if (all <= UINT32_MAX) {
    Parallel(exec.gang, static_cast<uint32_t>(all), [&](uint32_t task, uint32_t thread) {
      body(task / tasks_per_row, task % tasks_per_row, thread);
    });
    return;
  }
  for (uint32_t row = 0; row < exec.rows; ++row) {
    Parallel(exec.gang, tasks_per_row,
             [&](uint32_t task, uint32_t thread) { body(row, task, thread); });
  }
}

// `count` things in blocks of at most `block`, all but the last whole.
struct Blocks {
  uint64_t count = 0;
  uint64_t block = 1;

  uint32_t blocks() const { return static_cast<uint32_t>((count + block - 1) / block); }
  uint64_t begin(uint32_t i) const { return i * block; }
  uint64_t end(uint32_t i) const { return begin(i) + block < count ? begin(i) + block : count; }
};

// The rule of every operator that walks tokens: blocks of about 16 Ki elements, 64 KiB of float32
// (so that a block stays in L2 between two passes), but not so many blocks that their number would
// not fit.
inline Blocks TokenBlocks(uint64_t tokens, uint64_t channels) {
  uint64_t block = 16384 / (channels == 0 ? 1 : channels);
  if (block < 1) block = 1;
  if (block > 256) block = 256;
  while ((tokens + block - 1) / block > (1u << 20)) block *= 2;
  return {tokens, block};
}

}  // namespace unetd::cpu
