#include "server/plan/plan_builder.h"

#include <fmt/format.h>

#include "server/plan/graph.h"

namespace unetd {
PlanBuilder::PlanBuilder(Context context) : graph_(std::make_unique<Graph>()) {
  graph_->context = std::move(context);
}
PlanBuilder::~PlanBuilder() = default;
PlanBuilder::PlanBuilder(PlanBuilder&&) noexcept = default;

const PlanBuilder::Context& PlanBuilder::context() const { return graph_->context; }
const Status& PlanBuilder::status() const { return graph_->status; }
void PlanBuilder::SetLayer(std::string layer) { graph_->layer = std::move(layer); }
void PlanBuilder::Fail(Status status) {
  if (graph_->status.ok()) graph_->status = std::move(status);
}

bool PlanBuilder::Usable(std::initializer_list<const Value*> values) {
  if (!status().ok()) return false;
  for (const Value* value : values) {
    if (!value->present()) {
      Fail(Internal(
          fmt::format("layer '{}': an operator reads a value that does not exist", graph_->layer)));
      return false;
    }
  }
  return true;
}

Value PlanBuilder::Whole(const Value& x, size_t slices) {
  return x.slices.size() <= slices ? x : Elementwise(x, Activation::kNone, 1, 0, {}, x.dtype);
}

Value PlanBuilder::ImageInput(const std::string& name, uint32_t channels, Size size, float scale,
                              float shift, Section section) {
  if (!status().ok()) return {};
  Value planar;
  planar.size = size;
  planar.dtype = graph_->context.dtype;
  const int storage =
      graph_->AddStorage({StorageKind::kInput, planar.tokens(), channels, planar.dtype, section});
  graph_->inputs.push_back({name, {channels, size.h, size.w}, storage});
  planar.slices.push_back({storage, 0, channels, channels});
  Node node = graph_->NewNode(UNETD_OP_LAYOUT, {&planar});
  graph_->Bind(node, UNETD_ARG_SRC0, planar);
  node.desc.args[UNETD_ARG_SRC0].stride = 0;
  node.desc.u.layout = {UNETD_LAYOUT_TO_CHANNELS_LAST, scale, shift};
  return graph_->Finish(std::move(node), size, channels, planar.dtype);
}

Value PlanBuilder::TokensInput(const std::string& name, uint32_t tokens, uint32_t channels,
                               DType dtype, Section section) {
  if (!status().ok()) return {};
  Value value;
  value.size = {tokens, 1};
  value.dtype = dtype;
  const int storage = graph_->AddStorage({StorageKind::kInput, tokens, channels, dtype, section});
  graph_->inputs.push_back({name, {tokens, channels}, storage});
  value.slices.push_back({storage, 0, channels, channels});
  return value;
}

Value PlanBuilder::TimeInput() {
  if (!status().ok()) return {};
  Value value;
  const int storage =
      graph_->AddStorage({StorageKind::kTime, 1, 1, DType::kFloat32, Section::kSchedule});
  value.slices.push_back({storage, 0, 1, 1});
  return value;
}

void PlanBuilder::Output(const Value& x_in) {
  if (!Usable({&x_in})) return;
  const Value x = Whole(x_in, 1);
  Node node = graph_->NewNode(UNETD_OP_LAYOUT, {&x});
  // A UNet whose output did not depend on the sample would still write it in the step.
  node.section = Section::kStep;
  node.desc.u.layout = {UNETD_LAYOUT_TO_PLANAR, 1.0f, 0.0f};
  graph_->Bind(node, UNETD_ARG_SRC0, x);
  const int storage = graph_->AddStorage(
      {StorageKind::kOutput, x.tokens(), x.channels(), DType::kFloat32, Section::kStep});
  node.operands[UNETD_ARG_DST] = {storage, 0};
  node.desc.args[UNETD_ARG_DST] = {x.tokens(), 0, x.channels(), UNETD_DTYPE_F32};
  graph_->nodes.push_back(std::move(node));
  graph_->output_storage = storage;
  graph_->output_shape = {x.channels(), x.size.h, x.size.w};
}

}  // namespace unetd
