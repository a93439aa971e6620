#include "backends/cpu/gemm.h"

#include <algorithm>

#include "backends/cpu/pack.h"

namespace unetd::cpu {
namespace {

// Products that a task should hold at least (about 2 us), unless there is just less work.
constexpr double kTaskProducts = 1 << 18;
// Tasks wanted for each thread, so that dynamic claiming can even out a busy core.
constexpr uint64_t kTasksPerThread = 4;
// Weights that every task reads from L2.
constexpr uint64_t kSmallWeights = 256 * 1024;

constexpr uint32_t kSources =
    Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_SRC1) | Bit(UNETD_ARG_SRC2) | Bit(UNETD_ARG_SRC3);

// Tokens of all rows of a run; keeps every product below 2^64.
constexpr uint64_t kMaxTokens = uint64_t{1} << 31;

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

// How a run's tokens and panels are cut. It decides speed alone: no sum depends on it.
struct Cut {
  uint64_t m_blocks;
  uint64_t panel_blocks;
};

Cut CutTasks(const GemmPlan& plan, const GemmKernels& kernels, uint64_t m, uint32_t threads) {
  const uint64_t max_panels = kGemmMaxColumns / kernels.columns;
  Cut cut{CeilDiv(m, kGemmMaxRows), CeilDiv(plan.panels, max_panels)};
  const double products = 1.0 * m * plan.panels * kernels.columns * plan.k;
  uint64_t wanted = std::min<uint64_t>(threads * kTasksPerThread,
                                       static_cast<uint64_t>(products / kTaskProducts) + 1);
  if (wanted > threads) wanted -= wanted % threads;
  // An extra block of columns gathers A again, which is cheap when there are few tokens; fewer
  // tokens would read the weights again, which is cheap when those are few.
  if (cut.m_blocks * cut.panel_blocks < wanted) {
    if (uint64_t{plan.k} * plan.panels * kernels.columns * sizeof(float) <= kSmallWeights) {
      cut.m_blocks = std::min(CeilDiv(m, kernels.rows), CeilDiv(wanted, cut.panel_blocks));
    } else {
      cut.panel_blocks = std::min<uint64_t>(plan.panels, CeilDiv(wanted, cut.m_blocks));
    }
  }
  // A number of tasks that threads share evenly.
  if (cut.m_blocks > 1) {
    while (cut.m_blocks * cut.panel_blocks % threads != 0 && cut.m_blocks < m) ++cut.m_blocks;
  }
  return cut;
}

}  // namespace

Answer CheckGemmArgs(const unetd_op_desc& desc) {
  constexpr uint32_t kAllowed =
      kSources | Bit(UNETD_ARG_RESIDUAL) | Bit(UNETD_ARG_ROW_BIAS) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, kAllowed, Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST)); !a.ok()) {
    return a;
  }
  if (Answer a = CheckDTypes(desc, true); !a.ok()) return a;
  if (desc.args[UNETD_ARG_DST].tokens > kMaxTokens) return Unsupported("dst has too many tokens");
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    if (Answer a = CheckStorage(desc, arg); !a.ok()) return a;
  }
  const unetd_view& first = desc.args[UNETD_ARG_SRC0];
  bool ended = false;
  for (uint32_t s = 1; s < UNETD_MAX_SEGMENTS; ++s) {
    const unetd_view& view = desc.args[UNETD_ARG_SRC0 + s];
    if (!Present(view)) {
      ended = true;
      continue;
    }
    const std::string name = ArgName(UNETD_ARG_SRC0 + s);
    if (ended) return Unsupported(name + " is present after an absent source");
    if (view.tokens != first.tokens) {
      return Unsupported(name + " has " + std::to_string(view.tokens) + " tokens, src0 has " +
                         std::to_string(first.tokens));
    }
  }
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  const unetd_view& residual = desc.args[UNETD_ARG_RESIDUAL];
  if (Present(residual) && (residual.tokens != dst.tokens || residual.channels != dst.channels)) {
    return Unsupported("residual is [" + std::to_string(residual.tokens) + ", " +
                       std::to_string(residual.channels) + "], dst is [" +
                       std::to_string(dst.tokens) + ", " + std::to_string(dst.channels) + "]");
  }
  const unetd_view& row_bias = desc.args[UNETD_ARG_ROW_BIAS];
  if (Present(row_bias) && (row_bias.tokens != 1 || row_bias.channels != dst.channels)) {
    return Unsupported("row_bias is [" + std::to_string(row_bias.tokens) + ", " +
                       std::to_string(row_bias.channels) + "], expected [1, " +
                       std::to_string(dst.channels) + "]");
  }
  return Ok();
}

uint64_t SourceChannels(const unetd_op_desc& desc) {
  uint64_t channels = 0;
  for (uint32_t s = 0; s < UNETD_MAX_SEGMENTS; ++s) {
    const unetd_view& view = desc.args[UNETD_ARG_SRC0 + s];
    if (Present(view)) channels += view.channels;
  }
  return channels;
}

GemmPlan PlanFromArgs(const unetd_op_desc& desc, uint32_t activation, float out_scale) {
  GemmPlan plan = {};
  const auto token_bytes = [](const unetd_view& view) {
    return view.stride * DTypeBytes(view.dtype);
  };
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  plan.tokens = dst.tokens;
  plan.kernel_h = plan.kernel_w = 1;
  for (uint32_t s = 0; s < UNETD_MAX_SEGMENTS; ++s) {
    const unetd_view& view = desc.args[UNETD_ARG_SRC0 + s];
    if (!Present(view)) break;
    plan.segment[plan.segments++] = {UNETD_ARG_SRC0 + s, view.channels, view.dtype,
                                     token_bytes(view)};
    plan.channels += view.channels;
  }
  plan.weight_dtype = desc.weight_dtype;
  plan.activation = activation;
  plan.out_scale = out_scale;
  plan.dst_dtype = dst.dtype;
  plan.dst_token_bytes = token_bytes(dst);
  const unetd_view& residual = desc.args[UNETD_ARG_RESIDUAL];
  plan.has_residual = Present(residual);
  plan.residual_dtype = residual.dtype;
  plan.residual_token_bytes = token_bytes(residual);
  const unetd_view& row_bias = desc.args[UNETD_ARG_ROW_BIAS];
  plan.has_row_bias = Present(row_bias);
  plan.row_bias_dtype = row_bias.dtype;
  return plan;
}

void AddPart(const Isa& isa, uint32_t weight, int32_t bias, uint32_t rows, bool paired,
             GemmPlan* plan) {
  uint32_t channel = 0;
  if (plan->parts > 0) {
    const GemmPart& last = plan->part[plan->parts - 1];
    channel = last.dst_channel + last.columns;
  }
  const uint32_t panels = PanelCount(isa, rows, paired);
  plan->part[plan->parts++] = {weight, bias, paired ? rows / 2 : rows, panels, channel};
  plan->panels += panels;
}

bool MultipliesPairs(const unetd_op_desc& desc, const Isa& isa) {
  return desc.weight_dtype == UNETD_DTYPE_BF16 && MultipliesBF16(desc, isa, kSources);
}

uint32_t GemmKBlock(uint32_t k, uint32_t step) {
  return static_cast<uint32_t>(RoundUp(CeilDiv(k, CeilDiv(k, kGemmMaxSteps * step)), 16));
}

Answer CheckWeights(const GemmPlan& plan, const unetd_args& args) {
  for (uint32_t p = 0; p < plan.parts; ++p) {
    for (const int32_t weight : {static_cast<int32_t>(plan.part[p].weight), plan.part[p].bias}) {
      if (weight >= 0 && args.weights[weight] == nullptr) {
        return Invalid("weight " + std::to_string(weight) + " is null");
      }
    }
  }
  return Ok();
}

GemmKernel::GemmKernel(const Isa& isa, bool pairs, GemmPlan plan, std::vector<int32_t> y_map,
                       std::vector<int32_t> x_map)
    : kernels_(pairs ? avx512_bf16::kGemmKernels
                     : *isa.Pick(&avx2::kGemmKernels, &avx512::kGemmKernels)),
      plan_(plan),
      y_map_(std::move(y_map)),
      x_map_(std::move(x_map)) {
  plan_.y_map = y_map_.empty() ? nullptr : y_map_.data();
  plan_.x_map = x_map_.empty() ? nullptr : x_map_.data();
  plan_.k = plan_.channels * plan_.kernel_h * plan_.kernel_w;
  plan_.k_block = GemmKBlock(plan_.k, kernels_.step);
  thread_workspace_bytes = RoundUp(kernels_.workspace_bytes(plan_), 64);
  description = "packed gemm " + std::to_string(kernels_.rows) + "x" +
                std::to_string(kernels_.columns) + " " + isa.name(pairs) +
                (plan_.y_map != nullptr ? ", gathered rows" : "");
}

Answer GemmKernel::Run(const unetd_exec& exec, const unetd_args& args) const {
  if (Answer a = CheckWeights(plan_, args); !a.ok()) return a;
  const uint32_t threads = exec.gang == nullptr ? 1 : std::max(1u, exec.gang->threads);
  const uint64_t m = exec.rows * plan_.tokens;
  if (exec.rows > kMaxTokens / plan_.tokens) return Invalid("too many rows");
  const Cut cut = CutTasks(plan_, kernels_, m, threads);
  const uint64_t tasks = cut.m_blocks * cut.panel_blocks;
  Parallel(exec.gang, static_cast<uint32_t>(tasks), [&](uint32_t task, uint32_t thread) {
    // Neighbouring tasks share their weights, so that threads read them from memory once.
    const uint64_t m_block = task % cut.m_blocks;
    const uint64_t panel_block = task / cut.m_blocks;
    const GemmTask work{m * m_block / cut.m_blocks, m * (m_block + 1) / cut.m_blocks,
                        static_cast<uint32_t>(plan_.panels * panel_block / cut.panel_blocks),
                        static_cast<uint32_t>(plan_.panels * (panel_block + 1) / cut.panel_blocks)};
    kernels_.run(plan_, exec, args, work, ThreadWorkspace(exec, thread));
  });
  return IsCancelled(exec) ? Cancelled() : Ok();
}

}  // namespace unetd::cpu
