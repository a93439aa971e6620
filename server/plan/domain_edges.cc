#include "server/plan/domain_edges.h"

#include <algorithm>

namespace unetd {
namespace {

constexpr int kCrossing[] = {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_MASK,
                             UNETD_ARG_DST};

class Crossing {
 public:
  Crossing(PlanBuilder::Graph& graph, const Node& node, std::shared_ptr<Backend> backend)
      : graph_(graph), node_(node), backend_(std::move(backend)) {
    auto& foreign = graph_.foreign;
    const auto found = std::find(foreign.begin(), foreign.end(), backend_);
    domain_ = static_cast<int>(found - foreign.begin()) + 1;
    if (found == foreign.end()) foreign.push_back(backend_);
  }

  std::vector<LoweredNode> Run(const unetd_op_desc& desc, uint64_t& copied) {
    Node inner = node_;
    inner.desc = desc;
    for (int arg : kCrossing) {
      if (arg != UNETD_ARG_DST && node_.desc.args[arg].tokens != 0) Enter(inner, arg);
    }
    const unetd_view result = inner.desc.args[UNETD_ARG_DST];
    inner.operands[UNETD_ARG_DST] = Fresh(result, domain_);
    out_.push_back({inner, backend_});
    Leave(inner.operands[UNETD_ARG_DST], result);
    copied = copied_;
    return std::move(out_);
  }

 private:
  struct Place {
    NodeOperand operand;
    unetd_view view;
  };

  NodeOperand Fresh(const unetd_view& view, int domain) {
    return {graph_.AddStorage({StorageKind::kResult, view.tokens, view.channels,
                               static_cast<DType>(view.dtype), node_.section, domain}),
            0};
  }

  void Move(uint32_t kind, const Place& from, const Place& to) {
    Node node = graph_.NewNode(kind, {});
    node.section = node_.section;
    node.layer = node_.layer;
    node.operands[UNETD_ARG_SRC0] = from.operand;
    node.desc.args[UNETD_ARG_SRC0] = from.view;
    node.operands[UNETD_ARG_DST] = to.operand;
    node.desc.args[UNETD_ARG_DST] = to.view;
    if (kind == UNETD_OP_ELEMENTWISE) node.desc.u.elementwise = {UNETD_ACT_NONE, 1.0f, 0.0f};
    if (kind == UNETD_OP_RESIZE) {
      node.desc.u.resize = {UNETD_RESIZE_NEAREST, 1, 1, static_cast<uint32_t>(to.view.tokens), 1};
    }
    const bool copy = kind == UNETD_OP_COPY;
    if (copy) copied_ += from.view.tokens * from.view.channels * DTypeSize(DTypeOf(from));
    out_.push_back({std::move(node), copy ? backend_ : graph_.context.backend});
  }
  static DType DTypeOf(const Place& place) { return static_cast<DType>(place.view.dtype); }

  // A copy moves bytes only, so what is strided or of another dtype is cast first.
  static bool IsCopy(const unetd_view& a, const unetd_view& b) {
    return a.dtype == b.dtype && a.stride == b.stride;
  }

  void Enter(Node& inner, int arg) {
    const unetd_view wanted = inner.desc.args[arg];
    Place from{node_.operands[arg], node_.desc.args[arg]};
    if (from.view.tokens != wanted.tokens) {  // a mask's one row
      unetd_view rows = from.view;
      rows.tokens = wanted.tokens;
      rows.stride = rows.channels;
      const Place repeated{Fresh(rows, 0), rows};
      Move(UNETD_OP_RESIZE, from, repeated);
      from = repeated;
    }
    if (!IsCopy(from.view, wanted)) {
      const Place dense{Fresh(wanted, 0), wanted};
      Move(UNETD_OP_ELEMENTWISE, from, dense);
      from = dense;
    }
    inner.operands[arg] = Fresh(wanted, domain_);
    Move(UNETD_OP_COPY, from, {inner.operands[arg], wanted});
  }

  void Leave(const NodeOperand& result, const unetd_view& view) {
    const Place to{node_.operands[UNETD_ARG_DST], node_.desc.args[UNETD_ARG_DST]};
    if (IsCopy(view, to.view)) return Move(UNETD_OP_COPY, {result, view}, to);
    const Place dense{Fresh(view, 0), view};
    Move(UNETD_OP_COPY, {result, view}, dense);
    Move(UNETD_OP_ELEMENTWISE, dense, to);
  }

  PlanBuilder::Graph& graph_;
  const Node& node_;
  const std::shared_ptr<Backend> backend_;
  int domain_ = 0;
  uint64_t copied_ = 0;
  std::vector<LoweredNode> out_;
};

}  // namespace

StatusOr<unetd_op_desc> ForeignDescriptor(const Node& node, const Backend& backend) {
  unetd_op_desc desc = node.desc;
  for (int arg : kCrossing) {
    unetd_view& view = desc.args[arg];
    if (view.tokens == 0) continue;
    view.stride = view.channels;
    if (arg == UNETD_ARG_MASK) {
      view.dtype = UNETD_DTYPE_BOOL;
    } else if (node.compute != DType{0}) {
      view.dtype = static_cast<int32_t>(node.compute);
    }
  }
  unetd_view& mask = desc.args[UNETD_ARG_MASK];
  desc.u.attention.bool_mask = mask.tokens != 0;
  const Status refusal = backend.Supports(desc);
  if (refusal.ok()) return desc;
  if (mask.tokens == 1) {
    mask.tokens = desc.args[UNETD_ARG_SRC0].tokens;
    if (backend.Supports(desc).ok()) return desc;
  }
  return refusal;
}

std::vector<LoweredNode> CrossDomain(PlanBuilder::Graph& graph, const Node& node,
                                     const unetd_op_desc& desc,
                                     const std::shared_ptr<Backend>& backend, uint64_t& copied) {
  return Crossing(graph, node, backend).Run(desc, copied);
}

}  // namespace unetd
