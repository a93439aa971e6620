#include "backends/memory_efficient/attention.h"

#include <algorithm>

#include "backends/memory_efficient/problem.h"

namespace unetd::memory_efficient {
namespace {

uint64_t Bytes(uint64_t floats) { return (floats * sizeof(float) + 63) / 64 * 64; }

bool Cancelled(const unetd_exec& exec) {
  return exec.cancel != nullptr && __atomic_load_n(exec.cancel, __ATOMIC_RELAXED) != 0;
}

uint8_t* At(const unetd_exec& exec, const unetd_operand& operand, uint32_t row) {
  return exec.spaces[operand.space][row] + operand.offset;
}

// body(task, thread's scratch) on the gang; without one, here.
template <typename Body>
void ForTasks(const unetd_exec& exec, uint32_t tasks, const Body& body) {
  struct Context {
    const unetd_exec& exec;
    const Body& body;
  } context = {exec, body};
  const unetd_task run = [](void* opaque, uint32_t task, uint32_t thread) {
    const Context& c = *static_cast<const Context*>(opaque);
    if (Cancelled(c.exec)) return;
    uint8_t* scratch = c.exec.thread_workspace + thread * c.exec.thread_workspace_stride;
    c.body(task, reinterpret_cast<float*>(scratch));
  };
  if (exec.gang != nullptr && exec.gang->threads > 1 && tasks > 1) {
    exec.gang->parallel(exec.gang->self, tasks, run, &context);
  } else {
    for (uint32_t task = 0; task < tasks; ++task) run(&context, task, 0);
  }
}

}  // namespace

Attention::Attention(const unetd_op_desc& desc, const Machine& machine, const Choice& choice)
    : desc_(desc), kernels_(*machine.kernels) {
  if (choice.way == Way::kSplitKv) split_ = SplitGeometry(desc, kernels_);
  geometry_ = split_.parts > 1 ? split_.geometry : TiledGeometry(desc, kernels_);
  const std::string tile =
      std::to_string(geometry_.query_block) + "x" + std::to_string(geometry_.key_tile);
  const std::string isa = machine.isa;
  description_ = choice.name;
  if (choice.way == Way::kTiled) {
    description_ += " (tiled " + isa + ", " + tile + ")";
  } else {
    description_ += " (split-KV " + isa + ", " + std::to_string(split_.parts) +
                    (split_.parts == 1 ? " part, " : " parts, ") + tile + ")";
  }
  description_ += "; " + choice.why;
}

uint64_t Attention::workspace_bytes() const {
  if (split_.parts < 2) return 0;
  return Bytes(desc_.u.attention.heads * split_.panels() * split_.parts * geometry_.state_floats());
}

uint64_t Attention::thread_workspace_bytes() const { return Bytes(geometry_.floats); }

Head Attention::HeadOf(const unetd_exec& exec, const unetd_args& args, uint32_t row,
                       uint32_t head) const {
  const uint64_t channel = uint64_t{head} * geometry_.head_dim;
  const auto at = [&](uint32_t arg) {
    const uint64_t size = desc_.args[arg].dtype == UNETD_DTYPE_F32 ? 4 : 2;
    return At(exec, args.args[arg], row) + channel * size;
  };
  const bool masked = geometry_.mask != MaskRows::kNone;
  return {
      at(UNETD_ARG_SRC0), at(UNETD_ARG_KEY), at(UNETD_ARG_VALUE), at(UNETD_ARG_DST),
      masked ? reinterpret_cast<const float*>(At(exec, args.args[UNETD_ARG_MASK], row)) : nullptr};
}

// A task is a head and a block of queries of a row, with all keys. As many rows at once as can be
// counted.
void Attention::RunTiled(const unetd_exec& exec, const unetd_args& args) const {
  const Geometry& g = geometry_;
  const auto blocks = static_cast<uint32_t>((g.queries + g.query_block - 1) / g.query_block);
  const uint32_t tasks = desc_.u.attention.heads * blocks;
  const uint32_t most = std::max(1u, UINT32_MAX / tasks);
  for (uint32_t first = 0; first < exec.rows;) {
    const uint32_t rows = std::min(most, exec.rows - first);
    ForTasks(exec, rows * tasks, [&](uint32_t task, float* scratch) {
      const uint32_t in_row = task % tasks;
      const Head head = HeadOf(exec, args, first + task / tasks, in_row / blocks);
      const uint64_t query = uint64_t{in_row % blocks} * g.query_block;
      const uint64_t queries = std::min(g.query_block, g.queries - query);
      kernels_.attend(g, head, {query, queries, 0, g.keys}, scratch, scratch + g.states_at);
      kernels_.finish(g, head, query, queries, scratch + g.states_at);
    });
    first += rows;
  }
}

// A task is a head, a panel of queries and a part of the keys; then one for each head and panel
// adds its parts up, in their order. The states lie [head][panel][part].
void Attention::RunSplit(const unetd_exec& exec, const unetd_args& args, uint32_t row) const {
  const Geometry& g = geometry_;
  const auto panels = static_cast<uint32_t>(split_.panels());
  const uint32_t units = desc_.u.attention.heads * panels, parts = split_.parts;
  const uint64_t floats = g.state_floats();
  auto* states = reinterpret_cast<float*>(exec.workspace);
  const auto queries_of = [&](uint32_t unit) {
    const uint64_t query = uint64_t{unit % panels} * g.panel;
    return std::pair(query, std::min<uint64_t>(g.panel, g.queries - query));
  };
  ForTasks(exec, units * parts, [&](uint32_t task, float* scratch) {
    const uint32_t unit = task / parts;
    const auto [query, queries] = queries_of(unit);
    const uint64_t key = (task % parts) * split_.keys;
    kernels_.attend(g, HeadOf(exec, args, row, unit / panels),
                    {query, queries, key, std::min(split_.keys, g.keys - key)}, scratch,
                    states + task * floats);
  });
  ForTasks(exec, units, [&](uint32_t unit, float*) {
    const auto [query, queries] = queries_of(unit);
    float* first = states + uint64_t{unit} * parts * floats;
    kernels_.merge(g, queries, parts, floats, first);
    kernels_.finish(g, HeadOf(exec, args, row, unit / panels), query, queries, first);
  });
}

Answer Attention::Run(const unetd_exec& exec, const unetd_args& args) const {
  if (split_.parts < 2) {
    RunTiled(exec, args);
  } else {
    for (uint32_t row = 0; row < exec.rows && !Cancelled(exec); ++row) RunSplit(exec, args, row);
  }
  if (Cancelled(exec)) return {UNETD_CANCELLED, "cancelled"};
  return Ok();
}

}  // namespace unetd::memory_efficient
