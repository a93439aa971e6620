// Compile: recorded nodes -> lowered -> laid out -> packed and prepared.
#include <fmt/format.h>

#include <algorithm>

#include "server/plan/graph.h"
#include "server/plan/lowering.h"
#include "server/plan/memory_planner.h"
#include "server/plan/plan.h"

namespace unetd {
namespace {

using Graph = PlanBuilder::Graph;

struct Place {
  uint32_t space = UNETD_SPACE_ARENA;
  uint64_t offset = 0;
};

// Where each storage lies: blocks for what comes from or goes to other sections, the arena for the
// rest.
class Layout {
 public:
  Layout(const Graph& graph, const std::vector<LoweredNode>& nodes, Plan& plan)
      : graph_(graph), nodes_(nodes), plan_(plan), places_(graph.storages.size()) {}

  std::vector<Place> Run() {
    const size_t count = graph_.storages.size();
    std::vector<Lifetime> lifetimes(count);
    std::vector<bool> written(count), crosses(count);
    for (uint32_t op = 0; op < nodes_.size(); ++op) {
      const Node& node = nodes_[op].node;
      for (int arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
        const int storage = node.operands[arg].storage;
        if (storage < 0) continue;
        if (!written[storage]) lifetimes[storage].first = op;
        written[storage] = true;
        lifetimes[storage].last = op;
        if (node.section != graph_.storages[storage].section) crosses[storage] = true;
      }
    }
    // One arena a domain, used again by each section.
    std::vector<std::array<std::vector<int>, kSectionCount>> in_arena(plan_.foreign.size() + 1);
    for (int storage = 0; storage < static_cast<int>(count); ++storage) {
      const Storage& s = graph_.storages[storage];
      if (s.kind == StorageKind::kResult && written[storage] && !crosses[storage]) {
        lifetimes[storage].bytes = s.bytes();
        in_arena[s.domain][static_cast<int>(s.section)].push_back(storage);
      } else {
        PlaceInBlock(storage);
      }
    }
    for (size_t domain = 0; domain < in_arena.size(); ++domain) {
      uint64_t& row_bytes =
          domain == 0 ? plan_.arena_row_bytes : plan_.foreign[domain - 1].arena_row_bytes;
      for (const std::vector<int>& storages : in_arena[domain]) {
        std::vector<Lifetime> section;
        for (int storage : storages) section.push_back(lifetimes[storage]);
        row_bytes = std::max(row_bytes, PlanOffsets(section));
        for (size_t i = 0; i < storages.size(); ++i)
          places_[storages[i]] = {UNETD_SPACE_ARENA, section[i].offset};
      }
    }
    return std::move(places_);
  }

 private:
  void PlaceInBlock(int storage) {
    const Storage& s = graph_.storages[storage];
    switch (s.kind) {
      case StorageKind::kTime:
        places_[storage] = {UNETD_SPACE_TIME, 0};
        break;
      case StorageKind::kInput:
        places_[storage] = Append(UNETD_SPACE_INPUT, plan_.input_row_bytes, s);
        break;
      case StorageKind::kOutput:
        places_[storage] = Append(UNETD_SPACE_OUTPUT, plan_.output_row_bytes, s);
        break;
      case StorageKind::kResult:
        places_[storage] = s.section == Section::kCondition
                               ? Append(UNETD_SPACE_CONDITION, plan_.condition_row_bytes, s)
                               : Append(UNETD_SPACE_SCHEDULE, plan_.schedule_row_bytes, s);
    }
  }

  static Place Append(uint32_t space, uint64_t& block_bytes, const Storage& storage) {
    const Place place{space, block_bytes};
    block_bytes += AlignUp(storage.bytes());
    return place;
  }

  const Graph& graph_;
  const std::vector<LoweredNode>& nodes_;
  Plan& plan_;
  std::vector<Place> places_;
};

unetd_args MakeArgs(const Node& node, const Graph& graph, const std::vector<Place>& places) {
  unetd_args args{};
  args.struct_size = sizeof(args);
  for (int arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const NodeOperand& operand = node.operands[arg];
    if (operand.storage < 0) continue;
    const Place& place = places[operand.storage];
    const size_t element = DTypeSize(graph.storages[operand.storage].dtype);
    args.args[arg] = {place.offset + operand.first * element, place.space, 1};
  }
  return args;
}

// The foreign domain that a node works in, or 0.
int DomainOf(const Node& node, const Graph& graph) {
  int domain = 0;
  for (const NodeOperand& operand : node.operands) {
    if (operand.storage >= 0) domain = std::max(domain, graph.storages[operand.storage].domain);
  }
  return domain;
}

Status PackWeights(const LoweredNode& lowered, const Graph& graph, const CompileOptions& options,
                   Plan& plan, unetd_args& args) {
  for (const NodeWeight& weight : lowered.node.weights) {
    const WeightStore& store = weight.ref.store ? *weight.ref.store : *graph.context.weights;
    auto packed = options.packed->Get(*lowered.backend, lowered.node.desc, weight.index, store,
                                      weight.ref.name, options.gang);
    if (!packed.ok())
      return packed.status().WithContext(fmt::format("layer '{}': ", lowered.node.layer));
    args.weights[weight.index] = (*packed)->data();
    args.weight_count = std::max(args.weight_count, weight.index + 1);
    plan.packed.push_back(*std::move(packed));
  }
  return OkStatus();
}

StatusOr<PlannedOp> Planned(const LoweredNode& op, const Graph& graph,
                            const std::vector<Place>& places, const CompileOptions& options,
                            Plan& plan) {
  PlannedOp planned;
  planned.layer = op.node.layer;
  planned.text = DescriptorText(op.node.desc);
  planned.kind = OpKindName(op.node.desc.kind);
  planned.cost = CostOf(op.node.desc);
  planned.args = MakeArgs(op.node, graph, places);
  planned.domain = DomainOf(op.node, graph);
  if (op.node.desc.kind == UNETD_OP_COPY) {
    const unetd_view& dst = op.node.desc.args[UNETD_ARG_DST];
    const Storage& storage = graph.storages[op.node.operands[UNETD_ARG_DST].storage];
    planned.copy = storage.domain != 0 ? UNETD_COPY_TO_DOMAIN : UNETD_COPY_FROM_DOMAIN;
    planned.copy_bytes = dst.tokens * dst.channels * DTypeSize(storage.dtype);
    return planned;
  }
  RETURN_IF_ERROR(PackWeights(op, graph, options, plan, planned.args));
  auto prepared = op.backend->Prepare(op.node.desc);
  if (!prepared.ok()) {
    return prepared.status().WithContext(
        fmt::format("layer '{}', {}: ", planned.layer, planned.text));
  }
  planned.prepared = *std::move(prepared);
  uint64_t& workspace =
      planned.domain == 0 ? plan.workspace_bytes : plan.foreign[planned.domain - 1].workspace_bytes;
  workspace = std::max(workspace, AlignUp(planned.prepared.workspace_bytes()));
  // Threads are the host's: a device's kernels have none of ours.
  if (planned.domain == 0) {
    plan.thread_workspace_bytes =
        std::max(plan.thread_workspace_bytes, AlignUp(planned.prepared.thread_workspace_bytes()));
  }
  return planned;
}

}  // namespace

StatusOr<std::shared_ptr<const Plan>> Compile(PlanBuilder& builder, const CompileOptions& options) {
  RETURN_IF_ERROR(builder.status());
  Graph& graph = builder.graph();
  if (graph.output_storage < 0) return Internal("a plan without an output");
  ASSIGN_OR_RETURN(Lowered lowered, Lower(graph));

  auto plan = std::make_shared<Plan>();
  plan->domain = graph.context.backend;
  plan->dtype = graph.context.dtype;
  plan->attention = std::move(lowered.attention);
  plan->lowerings = std::move(lowered.notes);
  plan->copied_row_bytes = lowered.copied_row_bytes;
  for (const auto& backend : graph.foreign) plan->foreign.push_back({backend});
  plan->weights_used = graph.weights_used;
  plan->output_shape = graph.output_shape;
  const std::vector<Place> places = Layout(graph, lowered.nodes, *plan).Run();
  for (const NamedInput& input : graph.inputs) {
    const Storage& storage = graph.storages[input.storage];
    plan->inputs.push_back(
        {input.name, input.shape, storage.dtype, places[input.storage].offset, storage.bytes()});
  }
  if (options.structure_only) return std::shared_ptr<const Plan>(std::move(plan));

  size_t attention = 0;
  for (const LoweredNode& op : lowered.nodes) {
    ASSIGN_OR_RETURN(PlannedOp planned, Planned(op, graph, places, options, *plan));
    if (op.node.desc.kind == UNETD_OP_ATTENTION)
      plan->attention[attention++].kernel = planned.prepared.description();
    if (op.node.desc.kind == UNETD_OP_CONV2D) ++plan->convolutions[planned.prepared.description()];
    plan->sections[static_cast<int>(op.node.section)].push_back(std::move(planned));
  }
  return std::shared_ptr<const Plan>(std::move(plan));
}

const PlanInput* Plan::FindInput(const std::string& name) const {
  const auto found = std::find_if(inputs.begin(), inputs.end(),
                                  [&](const PlanInput& in) { return in.name == name; });
  return found == inputs.end() ? nullptr : &*found;
}

uint64_t Plan::ArenaBytes(uint32_t rows, uint32_t threads) const {
  return arena_row_bytes * rows + workspace_bytes + thread_workspace_bytes * threads;
}

uint64_t Plan::BlockBytes(uint32_t rows, uint32_t steps) const {
  const uint64_t row = input_row_bytes + condition_row_bytes + output_row_bytes;
  return rows * (row + steps * (schedule_row_bytes + kAlignment));
}

uint64_t Plan::CacheBytes() const {
  uint64_t bytes = sizeof(Plan);
  for (const auto& section : sections) {
    for (const PlannedOp& op : section)
      bytes += sizeof(PlannedOp) + op.layer.size() + op.text.size();
  }
  return bytes;
}

}  // namespace unetd
