// One task of the matrix kernel: for each k block, its rows of A are gathered once and meet every
// panel of the task. Compiled once for each instruction set.
#include "backends/cpu/gemm_kernels.h"

#include "backends/cpu/gemm_epilogue.h"
#include "backends/cpu/gemm_rows.h"
#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

static_assert(kRowStride >= static_cast<int>(kGemmMaxK));

// A panel of the task: its weights from k 0, its bias and its place in dst.
struct Panel {
  const uint8_t* weights;
  const float* bias;
  uint32_t channel;
  int columns;  // of dst
};

constexpr uint32_t kMaxPanels = kGemmMaxColumns / kPanel;

struct Workspace {
  alignas(64) TokenOut tokens[kGemmMaxRows];
  alignas(64) Panel panels[kMaxPanels];
  alignas(64) float tile[kTileRows * kPanel];
  alignas(64) float a[kGemmMaxRows * kRowStride];
  // Then kGemmMaxRows * kGemmMaxColumns floats of sums, if K has more than one block.
};

uint64_t WorkspaceBytes(const GemmPlan& plan) {
  const uint64_t sums = plan.k > plan.k_block ? kGemmMaxRows * kGemmMaxColumns : 0;
  return sizeof(Workspace) + sums * sizeof(float);
}

uint32_t WeightBytes(const GemmPlan& plan) { return plan.weight_dtype == UNETD_DTYPE_F32 ? 4 : 2; }

void FindPanels(const GemmPlan& plan, const unetd_args& args, const GemmTask& task, Panel* panels) {
  const uint64_t panel_bytes = uint64_t{plan.k} * kPanel * WeightBytes(plan);
  // A GEGLU panel holds half a panel of values and their gates.
  const uint32_t width = plan.activation == UNETD_ACT_GEGLU ? kLanes : kPanel;
  uint32_t start = 0;
  for (uint32_t p = 0; p < plan.parts; ++p) {
    const GemmPart& part = plan.part[p];
    for (uint32_t i = 0; i < part.panels; ++i) {
      const uint32_t panel = start + i;
      if (panel < task.panel_begin || panel >= task.panel_end) continue;
      Panel& out = panels[panel - task.panel_begin];
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

void FindTokens(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args,
                uint64_t m_begin, uint32_t rows, TokenOut* tokens) {
  for (uint32_t r = 0; r < rows; ++r) {
    const uint64_t m = m_begin + r;
    const uint64_t row = m / plan.tokens;
    const uint64_t token = m % plan.tokens;
    const auto address = [&](uint32_t arg) {
      return exec.spaces[args.args[arg].space][row] + args.args[arg].offset;
    };
    tokens[r].dst = address(UNETD_ARG_DST) + token * plan.dst_token_bytes;
    tokens[r].residual = plan.has_residual
                             ? address(UNETD_ARG_RESIDUAL) + token * plan.residual_token_bytes
                             : nullptr;
    tokens[r].row_bias = plan.has_row_bias ? address(UNETD_ARG_ROW_BIAS) : nullptr;
  }
}

const TileFn* PickTiles(int32_t weight_dtype, bool half) {
  switch (weight_dtype) {
    case UNETD_DTYPE_F16:
      return half ? Tiles<1, F16>::kByRows : Tiles<2, F16>::kByRows;
    case UNETD_DTYPE_BF16:
      return half ? Tiles<1, BF16>::kByRows : Tiles<2, BF16>::kByRows;
    default:
      return half ? Tiles<1, float>::kByRows : Tiles<2, float>::kByRows;
  }
}

void Run(const GemmPlan& plan, const unetd_exec& exec, const unetd_args& args, const GemmTask& task,
         uint8_t* workspace) {
  Workspace& work = *reinterpret_cast<Workspace*>(workspace);
  float* sums = reinterpret_cast<float*>(workspace + sizeof(Workspace));
  const uint32_t rows = static_cast<uint32_t>(task.m_end - task.m_begin);
  const uint32_t panels = task.panel_end - task.panel_begin;
  const uint32_t tiles = (rows + kTileRows - 1) / kTileRows;
  const uint64_t k_bytes = uint64_t{kPanel} * WeightBytes(plan);
  const bool one_block = plan.k <= plan.k_block;
  const EpilogueFn epilogue = PickEpilogue(plan.activation);
  FindPanels(plan, args, task, work.panels);
  FindTokens(plan, exec, args, task.m_begin, rows, work.tokens);

  for (uint32_t k = 0; k < plan.k; k += plan.k_block) {
    if (exec.cancel != nullptr && __atomic_load_n(exec.cancel, __ATOMIC_RELAXED) != 0) return;
    const uint32_t k_end = plan.k - k < plan.k_block ? plan.k : k + plan.k_block;
    GatherRows(plan, exec, args, task.m_begin, rows, k, k_end, work.a);
    for (uint32_t p = 0; p < panels; ++p) {
      const Panel& panel = work.panels[p];
      const uint8_t* weights = panel.weights + k * k_bytes;
      // What is multiplied next: this k block of the next panel, else the first panel's next block.
      const uint8_t* next = p + 1 < panels ? work.panels[p + 1].weights + k * k_bytes
                                           : work.panels[0].weights + (k_end % plan.k) * k_bytes;
      const uint64_t bytes = (k_end - k) * k_bytes;
      const bool half = plan.activation != UNETD_ACT_GEGLU && panel.columns <= kLanes;
      const TileFn* tile_by_rows = PickTiles(plan.weight_dtype, half);
      for (uint32_t t = 0; t < tiles; ++t) {
        const uint32_t begin = rows * t / tiles;  // evenly: 16 rows are 8 + 8, not 14 + 2
        const uint32_t count = rows * (t + 1) / tiles - begin;
        float* sum = one_block ? work.tile : sums + (uint64_t{p} * rows + begin) * kPanel;
        tile_by_rows[count - 1](work.a + begin * kRowStride, weights, k_end - k, sum, k != 0,
                                PrefetchShare(next, bytes, k_end - k, t, tiles));
        if (k_end == plan.k) {
          epilogue(plan, work.tokens + begin, sum, static_cast<int>(count), panel.bias,
                   panel.channel, panel.columns);
        }
      }
    }
  }
}

}  // namespace

const GemmKernels kGemmKernels = {kPanel, kTileRows, WorkspaceBytes, Run};

}  // namespace unetd::cpu::UNETD_ISA
