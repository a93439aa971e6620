#include "server/attention/can_serve.h"

#include "server/base/text.h"

namespace unetd {
namespace {

Status Cannot(const ProcessorRow& row, const AttentionLayer& layer, const std::string& why) {
  return InvalidArgument(Format("layer '{}': {} {}", layer.name, row.name, why));
}

std::string AddedKvProcessors() {
  std::string names;
  for (const ProcessorRow& row : Processors()) {
    if (row.projection != Projection::kAddedKv) continue;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

Status AddedKvOnLayer(const ProcessorRow& row, const AttentionLayer& layer) {
  if (!layer.has_added_kv()) {
    return Cannot(row, layer,
                  Format("needs add_k_proj and add_v_proj, which this layer has not; for it there "
                         "is {}",
                         DefaultProcessor(false).name));
  }
  if (layer.norm_groups == 0) {
    return Cannot(row, layer, "needs group_norm, which this layer has not");
  }
  // diffusers folds the heads back into the width of the input here.
  const bool folds =
      row.algorithm == UNETD_ATTENTION_SDPA || row.algorithm == UNETD_ATTENTION_SLICED;
  if (folds && layer.inner_dim() != layer.query_dim) {
    return Cannot(
        row, layer,
        Format("needs heads that make up the layer's {} channels, and these are {} of {}: "
               "diffusers fails here, too",
               layer.query_dim, layer.heads, layer.head_dim));
  }
  return OkStatus();
}

// In diffusers a processor without added keys and values hands the text to to_k and to_v.
Status PlainOnAddedKvLayer(const ProcessorRow& row, const AttentionLayer& layer) {
  const std::string advice =
      Format("; for a layer with added keys and values there are {}", AddedKvProcessors());
  if (row.projection == Projection::kFused) {
    return Cannot(row, layer,
                  "has no form with added keys and values, so diffusers does not fuse "
                  "such models" +
                      advice);
  }
  if (layer.only_cross) {
    return Cannot(row, layer,
                  "reads to_k and to_v, which this layer of only_cross_attention has not" + advice);
  }
  if (layer.added_kv_dim != layer.query_dim) {
    return Cannot(row, layer,
                  Format("hands to_k and to_v the text of {} channels, and they take {}",
                         layer.added_kv_dim, layer.query_dim) +
                      advice);
  }
  return OkStatus();
}

}  // namespace

Status CanServe(const ProcessorRow& row, const ProcessorOptions& options,
                const AttentionLayer& layer) {
  if (row.FindOption("slice_size") != nullptr && options.slice_size > layer.heads) {
    return InvalidArgument(Format("layer '{}' has {} heads, so slice_size must be 1 to {}, got {}",
                                  layer.name, layer.heads, layer.heads, options.slice_size));
  }
  if (row.projection == Projection::kAddedKv) return AddedKvOnLayer(row, layer);
  if (row.Has(kOnlySequences) && layer.takes_images()) {
    return Cannot(row, layer,
                  "works in transformer blocks only: this layer's input is an image [B, C, H, W], "
                  "on which diffusers fails");
  }
  if (layer.has_added_kv()) return PlainOnAddedKvLayer(row, layer);
  if (row.projection == Projection::kCustomDiffusion && layer.inner_dim() != layer.query_dim) {
    return Cannot(row, layer,
                  Format("has one hidden_size, and this layer takes {} channels and works in {}",
                         layer.query_dim, layer.inner_dim()));
  }
  return OkStatus();
}

std::vector<std::string> LegalProcessors(const AttentionLayer& layer) {
  ProcessorOptions least;
  least.slice_size = 1;
  std::vector<std::string> names;
  for (const ProcessorRow& row : Processors()) {
    if (CanServe(row, least, layer).ok()) names.emplace_back(row.name);
  }
  return names;
}

}  // namespace unetd
