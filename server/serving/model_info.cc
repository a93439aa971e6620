// What a served model tells about itself.
#include <utility>

#include "server/base/text.h"
#include "server/serving/model.h"

namespace unetd {

ModelInfo ServedModel::Info() const {
  ModelInfo info;
  info.name = name();
  info.version = kOnlyVersion;
  info.path = settings_.path.string();
  info.unet_class = unet_->config().class_name;
  info.backend = domain_->backend->name();
  info.dtype = TorchName(settings_.dtype);
  info.conv = ConvName(settings_.conv);
  info.scheduler = scheduler_class_;
  info.max_batch = settings_.max_batch;
  info.forward_rows = settings_.forward_rows();
  info.max_queue_delay_microseconds =
      static_cast<uint64_t>(settings_.dynamic_batching.max_queue_delay_microseconds);
  for (const Warmed& warmed : warmed_) {
    if (warmed.variant == 0) {
      info.shapes.emplace_back(warmed.shape.size.h, warmed.shape.size.w);
    }
  }
  for (const InputDecl& input : unet_->inputs()) {
    info.inputs.push_back({input.name, input.dtype, input.shape, !input.required});
  }
  info.outputs.push_back({wire::kOutput, DType::kFloat32, unet_->output_shape(), false});
  for (size_t i = 0; i < variants_.size(); ++i) {
    info.variants.push_back({variants_[i]->variant, settings_.variants[i].weight,
                             assignment_->Share(i), variants_[i]->fingerprint});
  }
  info.parameters = parameters_;
  return info;
}

BoundLayer ServedModel::Bound(size_t variant, const AttentionLayer& layer) const {
  const Snapshot& snapshot = *variants_[variant];
  BoundLayer bound;
  bound.variant = snapshot.variant;
  if (const LayerBinding* binding = snapshot.bindings.Find(layer.name)) {
    bound.processor = binding->processor->name;
    bound.algorithm = AlgorithmName(binding->algorithm);
    bound.rule = binding->rule;
    bound.options = binding->OptionsText();
  }
  // What it became, in the first plan of this variant.
  for (const Warmed& warmed : warmed_) {
    if (warmed.variant != variant) continue;
    for (const AttentionNote& note : warmed.plan->attention) {
      if (note.layer != layer.name) continue;
      bound.algorithm = AlgorithmName(note.algorithm);
      bound.backend = note.backend;
      bound.kernel = note.kernel;
      bound.refusals = note.refusals;
      bound.fell_back = note.fell_back;
    }
    break;
  }
  return bound;
}

ModelDescription ServedModel::Describe() const {
  ModelDescription description;
  description.info = Info();
  for (const AttentionLayer& layer : unet_->layers()) {
    LayerInfo info;
    info.name = layer.name;
    info.kind = layer.has_added_kv() ? "added_kv" : layer.is_cross() ? "cross" : "self";
    info.heads = layer.heads;
    info.head_dim = layer.head_dim;
    info.query_dim = layer.query_dim;
    info.cross_dim = layer.cross_dim;
    info.legal = LegalProcessors(layer);
    for (size_t i = 0; i < variants_.size(); ++i) info.bound.push_back(Bound(i, layer));
    description.layers.push_back(std::move(info));
  }
  for (const Warmed& warmed : warmed_) {
    const Plan& plan = *warmed.plan;
    PlanInfo info;
    info.variant = variants_[warmed.variant]->variant;
    info.shape = warmed.shape.Key();
    for (const auto& section : plan.sections) info.operators += section.size();
    info.arena_row_bytes = plan.arena_row_bytes;
    info.block_row_bytes = plan.BlockBytes(1, 1);
    for (const auto& packed : plan.packed) info.packed_bytes += packed->bytes();
    info.copied_row_bytes = plan.copied_row_bytes;
    info.convolutions = plan.convolutions;
    info.lowerings = plan.lowerings;
    description.plans.push_back(std::move(info));
  }
  description.unused_tensors = unused_;
  description.config_json = unet_->config().json;
  return description;
}

}  // namespace unetd
