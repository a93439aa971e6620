#include "server/plan/lowering.h"

#include <fmt/format.h>

#include "server/base/text.h"
#include "server/plan/domain_edges.h"

namespace unetd {
namespace {

using Graph = PlanBuilder::Graph;

class Lowering {
 public:
  explicit Lowering(Graph& graph) : graph_(graph) {}

  StatusOr<Lowered> Run() {
    for (Node& node : graph_.nodes) {
      RETURN_IF_ERROR(node.desc.kind == UNETD_OP_ATTENTION ? Attention(node) : Any(node));
    }
    return std::move(out_);
  }

 private:
  Backend& model() { return *graph_.context.backend; }

  void Accept(Node node, std::shared_ptr<Backend> backend) {
    out_.nodes.push_back({std::move(node), std::move(backend)});
  }

  Status Any(Node node) {
    const Status refusal = model().Supports(node.desc);
    if (refusal.ok()) {
      Accept(std::move(node), graph_.context.backend);
      return OkStatus();
    }
    const std::string what = DescriptorText(node.desc);
    if (node.desc.args[UNETD_ARG_SRC1].tokens != 0 && node.desc.kind != UNETD_OP_ELEMENTWISE) {
      Note(node, what, "its segments are copied together", refusal);
      RETURN_IF_ERROR(Any(CopySegments(node)));
      return Any(std::move(node));
    }
    if (node.desc.kind == UNETD_OP_CONV2D && node.desc.u.conv2d.resize_h != 0) {
      Note(node, what, "resized by an operator of its own", refusal);
      RETURN_IF_ERROR(Any(SplitResize(node)));
      return Any(std::move(node));
    }
    if (node.desc.args[UNETD_ARG_RESIDUAL].tokens != 0 && node.desc.kind != UNETD_OP_ELEMENTWISE) {
      Note(node, what, "its residual is added by an operator of its own", refusal);
      std::vector<Node> rest = SplitResidual(node);
      RETURN_IF_ERROR(Any(std::move(node)));
      for (Node& next : rest) RETURN_IF_ERROR(Any(std::move(next)));
      return OkStatus();
    }
    return refusal.WithContext(fmt::format("layer '{}', {}: ", node.layer, what));
  }

  Status Attention(Node& node) {
    AttentionNote note;
    note.layer = node.layer;
    std::vector<std::shared_ptr<Backend>> backends = node.backends;
    if (backends.empty()) backends.push_back(graph_.context.backend);
    for (const std::shared_ptr<Backend>& backend : backends) {
      if (backend->domain() != model().domain()) {
        const StatusOr<unetd_op_desc> foreign = ForeignDescriptor(node, *backend);
        if (foreign.ok()) return AcceptForeign(node, *foreign, backend, std::move(note));
        note.refusals.push_back(foreign.status().message());
        continue;
      }
      const Status answer = backend->Supports(node.desc);
      if (answer.ok()) return AcceptAttention(node, backend, std::move(note));
      note.refusals.push_back(answer.message());
    }
    if (node.fallback_to_sdpa) {
      node.desc.u.attention.algorithm = UNETD_ATTENTION_SDPA;
      node.desc.u.attention.slice_size = 0;
      node.desc.u.attention.op[0] = '\0';
      const Status answer = model().Supports(node.desc);
      note.fell_back = true;
      if (answer.ok()) return AcceptAttention(node, graph_.context.backend, std::move(note));
      note.refusals.push_back(answer.message());
    }
    std::string reasons;
    for (const std::string& refusal : note.refusals)
      reasons += (reasons.empty() ? "" : "; ") + refusal;
    return InvalidArgument(fmt::format("layer '{}': no backend serves {}: {}", node.layer,
                                       DescriptorText(node.desc), reasons));
  }

  Status AcceptAttention(Node& node, std::shared_ptr<Backend> backend, AttentionNote note) {
    note.backend = backend->name();
    note.algorithm = node.desc.u.attention.algorithm;
    out_.attention.push_back(std::move(note));
    Accept(std::move(node), std::move(backend));
    return OkStatus();
  }

  Status AcceptForeign(Node& node, const unetd_op_desc& desc,
                       const std::shared_ptr<Backend>& backend, AttentionNote note) {
    if (!backend->owns_domain()) {
      return InvalidArgument(
          fmt::format("layer '{}': backend '{}' works in domain '{}', whose "
                      "memory it does not own; the model is in '{}'",
                      node.layer, backend->name(), backend->domain(), model().domain()));
    }
    uint64_t copied = 0;
    for (LoweredNode& lowered : CrossDomain(graph_, node, desc, backend, copied)) {
      if (lowered.backend == graph_.context.backend) {
        RETURN_IF_ERROR(Any(std::move(lowered.node)));
      } else {
        out_.nodes.push_back(std::move(lowered));
      }
    }
    out_.copied_row_bytes += copied;
    out_.notes.push_back(
        fmt::format("{}: {}: in domain '{}' of backend '{}'; {} a row are copied "
                    "there and back",
                    node.layer, DescriptorText(node.desc), backend->domain(), backend->name(),
                    HumanBytes(copied)));
    note.backend = backend->name();
    note.algorithm = node.desc.u.attention.algorithm;
    out_.attention.push_back(std::move(note));
    return OkStatus();
  }

  void Note(const Node& node, const std::string& what, const char* done, const Status& refusal) {
    out_.notes.push_back(fmt::format("{}: {}: {} ({})", node.layer, what, done, refusal.message()));
  }

  // A new buffer for `view`.
  NodeOperand Fresh(const unetd_view& view, Section section) {
    const int storage = graph_.AddStorage({StorageKind::kResult, view.tokens, view.channels,
                                           static_cast<DType>(view.dtype), section});
    return {storage, 0};
  }

  static void Set(Node& node, int arg, const NodeOperand& operand, unetd_view view) {
    node.operands[arg] = operand;
    node.desc.args[arg] = view;
  }
  static void Clear(Node& node, int arg) {
    node.operands[arg] = {};
    node.desc.args[arg] = {};
  }

  Node NewNode(const Node& like, uint32_t kind) {
    Node node = graph_.NewNode(kind, {});
    node.section = like.section;
    node.layer = like.layer;
    return node;
  }

  // Takes the source segments out of `node` into a node that concatenates them.
  Node CopySegments(Node& node) {
    Node copy = NewNode(node, UNETD_OP_ELEMENTWISE);
    copy.desc.u.elementwise = {UNETD_ACT_NONE, 1.0f, 0.0f};
    unetd_view whole = node.desc.args[UNETD_ARG_SRC0];
    whole.channels = 0;
    for (int arg = UNETD_ARG_SRC0; arg <= UNETD_ARG_SRC3; ++arg) {
      if (node.desc.args[arg].tokens == 0) continue;
      whole.channels += node.desc.args[arg].channels;
      Set(copy, arg, node.operands[arg], node.desc.args[arg]);
      Clear(node, arg);
    }
    whole.stride = whole.channels;
    const NodeOperand fresh = Fresh(whole, node.section);
    Set(copy, UNETD_ARG_DST, fresh, whole);
    Set(node, UNETD_ARG_SRC0, fresh, whole);
    return copy;
  }

  Node SplitResize(Node& node) {
    unetd_conv2d& conv = node.desc.u.conv2d;
    Node resize = NewNode(node, UNETD_OP_RESIZE);
    resize.desc.u.resize = {UNETD_RESIZE_NEAREST, conv.in_h, conv.in_w, conv.resize_h,
                            conv.resize_w};
    unetd_view view = node.desc.args[UNETD_ARG_SRC0];
    Set(resize, UNETD_ARG_SRC0, node.operands[UNETD_ARG_SRC0], view);
    view.tokens = uint64_t{conv.resize_h} * conv.resize_w;
    view.stride = view.channels;
    const NodeOperand fresh = Fresh(view, node.section);
    Set(resize, UNETD_ARG_DST, fresh, view);
    Set(node, UNETD_ARG_SRC0, fresh, view);
    conv.in_h = conv.resize_h;
    conv.in_w = conv.resize_w;
    conv.resize_h = conv.resize_w = 0;
    return resize;
  }

  // dst = (x + residual) * scale: `node` keeps x, the returned nodes do the rest.
  std::vector<Node> SplitResidual(Node& node) {
    float& scale = node.desc.kind == UNETD_OP_CONV2D ? node.desc.u.conv2d.out_scale
                                                     : node.desc.u.linear.out_scale;
    Node add = NewNode(node, UNETD_OP_ELEMENTWISE);
    add.desc.u.elementwise = {UNETD_ACT_NONE, 1.0f, 0.0f};
    unetd_view view = node.desc.args[UNETD_ARG_DST];
    Set(add, UNETD_ARG_DST, node.operands[UNETD_ARG_DST], view);
    Set(add, UNETD_ARG_RESIDUAL, node.operands[UNETD_ARG_RESIDUAL],
        node.desc.args[UNETD_ARG_RESIDUAL]);
    view.stride = view.channels;
    const NodeOperand fresh = Fresh(view, node.section);
    Set(add, UNETD_ARG_SRC0, fresh, view);
    Set(node, UNETD_ARG_DST, fresh, view);
    Clear(node, UNETD_ARG_RESIDUAL);
    if (scale == 1.0f) return {add};
    Node rescale = add;
    rescale.desc.u.elementwise.scale = scale;
    Clear(rescale, UNETD_ARG_RESIDUAL);
    const NodeOperand sum = Fresh(view, node.section);
    Set(rescale, UNETD_ARG_SRC0, sum, view);
    Set(add, UNETD_ARG_DST, sum, view);
    scale = 1.0f;
    return {add, rescale};
  }

  Graph& graph_;
  Lowered out_;
};

}  // namespace

StatusOr<Lowered> Lower(PlanBuilder::Graph& graph) { return Lowering(graph).Run(); }

}  // namespace unetd
