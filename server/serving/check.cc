#include "server/serving/check.h"

#include <algorithm>
#include <string>

#include "server/base/text.h"

namespace unetd {
namespace {

std::string Sizes(const ModelInfo& info) {
  std::string text;
  for (const auto& [height, width] : info.shapes) {
    text += Format("{}{}x{}", text.empty() ? "" : ", ", height, width);
  }
  return text;
}

void AppendLayer(const LayerInfo& layer, const BoundLayer& bound, size_t width, std::string& text) {
  text += Format("    {:<{}}  {:<5} {:>2} heads of {:<3}  {}", layer.name, width, layer.kind,
                 layer.heads, layer.head_dim, bound.processor);
  if (!bound.options.empty()) text += Format(" ({})", bound.options);
  text += Format("  {} on {}  by {}\n", bound.algorithm, bound.backend, bound.rule);
  if (!bound.kernel.empty()) text += Format("      kernel: {}\n", bound.kernel);
  if (bound.fell_back) text += "      fell back to sdpa, as its rule allows\n";
  for (const std::string& refusal : bound.refusals) {
    text += Format("      refused by {}\n", refusal);
  }
}

void AppendModel(const ModelDescription& model, std::string& text) {
  const ModelInfo& info = model.info;
  text += Format("model {}: {}, {:.1f} M parameters, {}, conv {}, backend {}\n", Quoted(info.name),
                 info.unet_class, static_cast<double>(info.parameters) * 1e-6, info.dtype,
                 info.conv, info.backend);
  text += Format("  from {}\n  scheduler: {}\n  at most {} rows; ready for {}\n", info.path,
                 info.scheduler.empty() ? "none" : info.scheduler, info.max_batch, Sizes(info));
  if (!model.unused_tensors.empty()) {
    text += Format("  {} tensors of the checkpoint are not used\n", model.unused_tensors.size());
  }
  size_t width = 0;
  for (const LayerInfo& layer : model.layers) width = std::max(width, layer.name.size());
  for (size_t i = 0; i < info.variants.size(); ++i) {
    const VariantInfo& variant = info.variants[i];
    text +=
        Format("  variant {}: {:.1f} % of the requests, {} layers, fingerprint {}\n",
               Quoted(variant.name), variant.share * 100, model.layers.size(), variant.fingerprint);
    for (const LayerInfo& layer : model.layers) AppendLayer(layer, layer.bound[i], width, text);
    for (const PlanInfo& plan : model.plans) {
      if (plan.variant != variant.name) continue;
      text += Format(
          "    plan {}: {} operators; a row needs {} of arena and {} of its own; {} of "
          "packed weights\n",
          plan.shape, plan.operators, HumanBytes(plan.arena_row_bytes),
          HumanBytes(plan.block_row_bytes), HumanBytes(plan.packed_bytes));
      for (const auto& [kernel, count] : plan.convolutions) {
        text += Format("      {} convolutions by {}\n", count, kernel);
      }
      if (plan.copied_row_bytes != 0) {
        text += Format("      {} a row and step cross between domains\n",
                       HumanBytes(plan.copied_row_bytes));
      }
      for (const std::string& lowering : plan.lowerings) {
        text += Format("      lowered: {}\n", lowering);
      }
    }
  }
}

}  // namespace

std::string CheckText(const Server& server) {
  std::string text;
  for (const ModelInfo& info : server.ListModels()) {
    const auto model = server.DescribeModel(info.name);
    if (model.ok()) AppendModel(*model, text);
  }
  for (const DomainStats& domain : server.Stats().domains) {
    text += Format(
        "domain {} of backend {}: {} of packed weights (shared by all variants), {} of "
        "arena, {} of plans; limit {}\n",
        domain.domain, domain.backend, HumanBytes(domain.weights_bytes),
        HumanBytes(domain.arena_bytes), HumanBytes(domain.plans_bytes),
        HumanBytes(domain.memory_limit));
  }
  return text;
}

}  // namespace unetd
