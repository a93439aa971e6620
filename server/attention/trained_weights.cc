#include "server/attention/trained_weights.h"

#include <algorithm>
#include <string_view>

#include "server/base/text.h"
#include "server/tensor/shape.h"

namespace unetd {
namespace {

constexpr const char* kTensors[] = {kTrainedK, kTrainedV, kTrainedQ, kTrainedOut, kTrainedOutBias};

std::string Prefix(const AttentionLayer& layer) { return layer.name + ".processor."; }

// One layer's tensors in one file.
class Reader {
 public:
  Reader(const WeightStore& store, const AttentionLayer& layer) : store_(store), layer_(layer) {}

  bool Has(const char* tensor) const { return store_.Find(TrainedName(layer_, tensor)) != nullptr; }

  Status Error(const char* tensor, const std::string& what) const {
    return InvalidArgument(
        Format(".weights: {}: tensor '{}' {}", store_.path(), TrainedName(layer_, tensor), what));
  }

  Status Check(const char* tensor, const Shape& expected, const std::string& why) const {
    const TensorView* view = store_.Find(TrainedName(layer_, tensor));
    if (view == nullptr) return Error(tensor, Format("is missing: {}", why));
    if (view->shape != expected) {
      return Error(tensor, Format("has shape {}, the layer takes {}", ShapeText(view->shape),
                                  ShapeText(expected)));
    }
    if (!IsFloat(view->dtype) || view->dtype == DType::kFloat64) {
      return Error(tensor,
                   Format("is {}, expected float32, float16 or bfloat16", TorchName(view->dtype)));
    }
    return OkStatus();
  }

  // Nothing but what a trained processor has.
  Status CheckNames() const {
    const std::string prefix = Prefix(layer_);
    for (const std::string& name : store_.Names()) {
      if (!name.starts_with(prefix)) continue;
      const std::string_view rest = std::string_view(name).substr(prefix.size());
      if (std::find(std::begin(kTensors), std::end(kTensors), rest) == std::end(kTensors)) {
        return InvalidArgument(
            Format(".weights: {}: tensor {} is none of a Custom Diffusion processor", store_.path(),
                   Quoted(name)));
      }
    }
    return OkStatus();
  }

 private:
  const WeightStore& store_;
  const AttentionLayer& layer_;
};

std::string Why(const char* option, const std::optional<bool>& said) {
  return said ? Format("{} is true", option) : "the file has its sibling";
}

Status CheckSizes(const AttentionLayer& layer, uint32_t keys_from,
                  const ProcessorOptions& options) {
  if (options.hidden_size && *options.hidden_size != layer.inner_dim()) {
    return InvalidArgument(Format(".hidden_size: layer '{}' has {} channels, got {}", layer.name,
                                  layer.inner_dim(), *options.hidden_size));
  }
  if (options.cross_attention_dim && *options.cross_attention_dim != keys_from) {
    return InvalidArgument(
        Format(".cross_attention_dim: the keys of layer '{}' are made of {} channels, got {}",
               layer.name, keys_from, *options.cross_attention_dim));
  }
  return OkStatus();
}

Status ResolveWithout(const ProcessorRow& row, ProcessorOptions& options) {
  const bool kv = options.train_kv.value_or(true);
  const bool q_out = options.train_q_out.value_or(row.Has(kTrainsQOut));
  if (kv || q_out) {
    const char* option = kv ? "train_kv" : "train_q_out";
    const bool said = (kv ? options.train_kv : options.train_q_out).has_value();
    return InvalidArgument(
        Format(".weights: {} needs the file of its trained tensors, since {} is {}; without any, "
               "say \"train_kv\": false{}",
               row.name, option, said ? "true" : "unsaid, which diffusers takes as true",
               row.Has(kTrainsQOut) ? " and \"train_q_out\": false" : ""));
  }
  options.train_kv = options.train_q_out = options.out_bias = false;
  return OkStatus();
}

}  // namespace

std::string TrainedName(const AttentionLayer& layer, const char* tensor) {
  return Prefix(layer) + tensor;
}

bool HoldsTrained(const WeightStore& store, const AttentionLayer& layer) {
  return std::any_of(std::begin(kTensors), std::end(kTensors), [&](const char* tensor) {
    return store.Find(TrainedName(layer, tensor)) != nullptr;
  });
}

Status ResolveTrained(const ProcessorRow& row, const WeightStore* store,
                      const AttentionLayer& layer, ProcessorOptions& options) {
  if (store == nullptr) return ResolveWithout(row, options);
  const Reader file(*store, layer);
  RETURN_IF_ERROR(file.CheckNames());
  const uint32_t inner = layer.inner_dim();
  const uint32_t keys_from = layer.is_cross() ? layer.cross_dim : layer.query_dim;
  const auto kv_said = options.train_kv, q_out_said = options.train_q_out;
  const auto bias_said = options.out_bias;
  const auto contradicted = [&](const std::optional<bool>& said, const char* option,
                                std::initializer_list<const char*> tensors) -> Status {
    if (!said || *said) return OkStatus();
    for (const char* tensor : tensors) {
      if (file.Has(tensor)) return file.Error(tensor, Format("is there, but {} is false", option));
    }
    return OkStatus();
  };
  RETURN_IF_ERROR(contradicted(kv_said, "train_kv", {kTrainedK, kTrainedV}));
  RETURN_IF_ERROR(
      contradicted(q_out_said, "train_q_out", {kTrainedQ, kTrainedOut, kTrainedOutBias}));
  RETURN_IF_ERROR(contradicted(bias_said, "out_bias", {kTrainedOutBias}));

  const bool kv = kv_said.value_or(file.Has(kTrainedK) || file.Has(kTrainedV));
  const bool q_out = q_out_said.value_or(file.Has(kTrainedQ) || file.Has(kTrainedOut) ||
                                         file.Has(kTrainedOutBias));
  const bool bias = q_out && bias_said.value_or(file.Has(kTrainedOutBias));
  RETURN_IF_ERROR(CheckSizes(layer, keys_from, options));
  if (kv) {
    for (const char* tensor : {kTrainedK, kTrainedV}) {
      RETURN_IF_ERROR(file.Check(tensor, {inner, keys_from}, Why("train_kv", kv_said)));
    }
  }
  if (q_out) {
    const std::string why = Why("train_q_out", q_out_said);
    RETURN_IF_ERROR(file.Check(kTrainedQ, {inner, layer.query_dim}, why));
    RETURN_IF_ERROR(file.Check(kTrainedOut, {layer.query_dim, inner}, why));
  }
  if (bias) {
    RETURN_IF_ERROR(file.Check(kTrainedOutBias, {layer.query_dim}, Why("out_bias", bias_said)));
  }
  options.train_kv = kv;
  options.train_q_out = q_out;
  options.out_bias = bias;
  return OkStatus();
}

}  // namespace unetd
