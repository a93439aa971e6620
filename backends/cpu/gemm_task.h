// One task of the matrix kernel: for each k block, its rows of A are gathered once and meet every
// panel of the task. For x_kernels.cc files only; each says how it multiplies:
//   struct Products {
//     using Value = ...;     // of a gathered row of A
//     using StepType = ...;  // what a tile takes of it at once: one Value or more
//     static uint32_t StepBytes(const GemmPlan&);  // of a column of weights
//     static const TileOf<StepType>* PickTiles(const GemmPlan&, bool half);  // half a panel's
//   };
#pragma once

#include "backends/cpu/gemm_epilogue.h"
#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/gemm_rows.h"
#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {

static_assert(kRowStride >= static_cast<int>(kGemmMaxSteps));

// A panel of the task: its weights from k 0, its bias and its place in dst.
struct TaskPanel {
  const uint8_t* weights;
  const float* bias;
  uint32_t channel;
  int columns;  // of dst
};

constexpr uint32_t kMaxPanels = kGemmMaxColumns / kPanel;

struct TaskMemory {
  alignas(64) TokenOut tokens[kGemmMaxRows];
  alignas(64) TaskPanel panels[kMaxPanels];
  alignas(64) float tile[kTileRows * kPanel];
  alignas(64) uint8_t a[kGemmMaxRows * kRowStride * sizeof(float)];  // rows of steps
  // Then kGemmMaxRows * kGemmMaxColumns floats of sums, if K has more than one block.
};

inline uint64_t TaskBytes(const GemmPlan& plan) {
  const uint64_t sums = plan.k > plan.k_block ? kGemmMaxRows * kGemmMaxColumns : 0;
  return sizeof(TaskMemory) + sums * sizeof(float);
}

inline void FindPanels(const GemmPlan& plan, const unetd_args& args, const GemmTask& task,
                       uint64_t panel_bytes, TaskPanel* panels) {
  // A GEGLU panel holds half a panel of values and their gates.
  const uint32_t width = plan.activation == UNETD_ACT_GEGLU ? kLanes : kPanel;
  uint32_t start = 0;
  for (uint32_t p = 0; p < plan.parts; ++p) {
    const GemmPart& part = plan.part[p];
    for (uint32_t i = 0; i < part.panels; ++i) {
      const uint32_t panel = start + i;
      if (panel < task.panel_begin || panel >= task.panel_end) continue;
      TaskPanel& out = panels[panel - task.panel_begin];
      out.weights = static_cast<const uint8_t*>(args.weights[part.weight]) + i * panel_bytes;
      out.bias = part.bias < 0
                     ? nullptr
                     : static_cast<const float*>(args.weights[part.bias]) + uint64_t{i} * kPanel;
      out.channel = part.dst_channel + i * width;
      const uint32_t left = part.columns - i * width;
      out.columns = static_cast<int>(left < width ? left : width);
    }
    start += part.panels;
  }
}

inline void FindTokens(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args,
                       uint64_t m_begin, uint32_t rows, TokenOut* tokens) {
  uint64_t row = m_begin / plan.tokens;
  uint64_t token = m_begin % plan.tokens;
  for (uint32_t r = 0; r < rows; ++row, token = 0) {
    const auto address = [&](bool there, uint32_t arg) {
      return there ? exec.spaces[args.args[arg].space][row] + args.args[arg].offset : nullptr;
    };
    uint8_t* const dst = address(true, UNETD_ARG_DST);
    const uint8_t* const residual = address(plan.has_residual, UNETD_ARG_RESIDUAL);
    const uint8_t* const row_bias = address(plan.has_row_bias, UNETD_ARG_ROW_BIAS);
    for (; token < plan.tokens && r < rows; ++token, ++r) {
      tokens[r] = {dst + token * plan.dst_token_bytes, residual + token * plan.residual_token_bytes,
                   row_bias};
    }
  }
}

template <typename Products>
void RunTask(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args,
             const GemmTask& task, uint8_t* workspace) {
  using Value = typename Products::Value;
  using StepType = typename Products::StepType;
  constexpr uint32_t kDepth = sizeof(StepType) / sizeof(Value);
  static_assert(sizeof(StepType) == sizeof(float));
  TaskMemory& work = *reinterpret_cast<TaskMemory*>(workspace);
  float* sums = reinterpret_cast<float*>(workspace + sizeof(TaskMemory));
  const StepType* a = reinterpret_cast<const StepType*>(work.a);
  const uint32_t rows = static_cast<uint32_t>(task.m_end - task.m_begin);
  const uint32_t panels = task.panel_end - task.panel_begin;
  const uint32_t tiles = (rows + kTileRows - 1) / kTileRows;
  const uint64_t step_bytes = uint64_t{kPanel} * Products::StepBytes(plan);
  const bool one_block = plan.k <= plan.k_block;
  const EpilogueFn epilogue = PickEpilogue(plan.activation);
  FindPanels(plan, args, task, (plan.k + kDepth - 1) / kDepth * step_bytes, work.panels);
  FindTokens(plan, exec, args, task.m_begin, rows, work.tokens);

  for (uint32_t k = 0; k < plan.k; k += plan.k_block) {
    if (exec.cancel != nullptr && __atomic_load_n(exec.cancel, __ATOMIC_RELAXED) != 0) return;
    const uint32_t k_end = plan.k - k < plan.k_block ? plan.k : k + plan.k_block;
    const uint32_t steps = (k_end - k + kDepth - 1) / kDepth;
    const uint64_t bytes = steps * step_bytes, offset = k / kDepth * step_bytes;
    GatherRows(plan, exec, args, task.m_begin, rows, k, k_end, reinterpret_cast<Value*>(work.a));
    for (uint32_t p = 0; p < panels; ++p) {
      const TaskPanel& panel = work.panels[p];
      const uint8_t* weights = panel.weights + offset;
      // What is multiplied next: this k block of the next panel, else the first panel's next block.
      const uint8_t* next = p + 1 < panels
                                ? work.panels[p + 1].weights + offset
                                : work.panels[0].weights + (k_end == plan.k ? 0 : offset + bytes);
      const bool half = plan.activation != UNETD_ACT_GEGLU && panel.columns <= kLanes;
      const TileOf<StepType>* tile_by_rows = Products::PickTiles(plan, half);
      for (uint32_t t = 0; t < tiles; ++t) {
        const uint32_t begin = rows * t / tiles;  // evenly: 16 rows are 8 + 8, not 14 + 2
        const uint32_t count = rows * (t + 1) / tiles - begin;
        float* sum = one_block ? work.tile : sums + (uint64_t{p} * rows + begin) * kPanel;
        tile_by_rows[count - 1](a + begin * kRowStride, weights, steps, sum, k != 0,
                                PrefetchShare(next, bytes, steps, t, tiles));
        if (k_end == plan.k) {
          epilogue(plan, work.tokens + begin, sum, static_cast<int>(count), panel.bias,
                   panel.channel, panel.columns);
        }
      }
    }
  }
}

template <typename Products>
constexpr GemmKernels KernelsOf() {
  return {kPanel, kTileRows, sizeof(typename Products::StepType) / sizeof(typename Products::Value),
          TaskBytes, RunTask<Products>};
}

}  // namespace unetd::cpu::UNETD_ISA
