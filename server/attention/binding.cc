#include "server/attention/binding.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/attention/trained_weights.h"
#include "server/base/hash.h"
#include "server/base/text.h"

namespace unetd {
namespace {

constexpr char kFallbackSdpa[] = "sdpa";

bool Matches(std::string_view pattern, const std::string& layer) {
  // diffusers' own keys are the layers' names with ".processor" behind.
  return GlobMatch(pattern, layer) || GlobMatch(pattern, layer + ".processor");
}

std::string FingerprintOf(const std::map<std::string, LayerBinding>& layers) {
  std::string content;
  for (const auto& [name, binding] : layers) {
    content += Format("{}|{}|{}|{}|{}|{}", name, binding.processor->name, binding.algorithm,
                      binding.options.Text(*binding.processor),
                      binding.weights != nullptr ? binding.weights->Fingerprint() : "",
                      binding.fallback_to_sdpa ? kFallbackSdpa : "");
    for (const auto& backend : binding.backends) {
      content += Format("|{} {}", backend->name(), backend->version());
    }
    content += '\n';
  }
  return Format("{:016x}", StableHash(content));
}

}  // namespace

std::string LayerBinding::OptionsText() const {
  std::string text = options.Text(*processor);
  if (weights != nullptr) {
    text += Format("{}weights={}", text.empty() ? "" : ", ", JsonQuoted(weights->path()));
  }
  return text;
}

const LayerBinding* VariantBindings::Find(const std::string& layer) const {
  const auto found = layers_.find(layer);
  return found == layers_.end() ? nullptr : &found->second;
}

Status VariantBindings::Explain(const Status& status) const {
  constexpr std::string_view kBefore = "layer '";
  const size_t begin = status.message().find(kBefore);
  if (status.ok() || begin == std::string::npos) return status;
  const size_t name = begin + kBefore.size();
  const size_t end = status.message().find('\'', name);
  if (end == std::string::npos) return status;
  const LayerBinding* binding = Find(status.message().substr(name, end - name));
  if (binding == nullptr || binding->rule == kDefaultRule) return status;
  const std::string behind = binding->unopened.empty() ? "" : "; not opened: " + binding->unopened;
  return Status(status.code(), binding->rule + ": " + status.message() + behind);
}

// One variant being bound.
class Binder {
 public:
  Binder(const std::vector<AttentionLayer>& layers, const BackendRegistry& registry,
         const std::shared_ptr<Backend>& model_backend, DType dtype)
      : layers_(layers), registry_(registry), model_backend_(model_backend), dtype_(dtype) {}

  StatusOr<VariantBindings> Run(const VariantSettings& variant) {
    for (const AttentionLayer& layer : layers_) {
      LayerBinding& binding = bindings_.layers_[layer.name];
      binding.processor = &DefaultProcessor(layer.has_added_kv());
      binding.algorithm = binding.processor->algorithm;
      binding.backends = Candidates(binding.algorithm);
    }
    for (const ProcessorRule& rule : variant.processors) RETURN_IF_ERROR(Apply(rule));
    // Only what a layer ends up with must fit it: a later rule may be there to make an exception.
    for (const AttentionLayer& layer : layers_) RETURN_IF_ERROR(Settle(layer));
    bindings_.fingerprint_ = FingerprintOf(bindings_.layers_);
    return std::move(bindings_);
  }

 private:
  // The model's backend, then the others of its domain in order; for the npu algorithm, which
  // lives in a domain of its own, then those of other domains.
  std::vector<std::shared_ptr<Backend>> Candidates(uint32_t algorithm) const {
    std::vector<std::shared_ptr<Backend>> result = {model_backend_};
    for (const auto& backend : registry_.OfDomain(model_backend_->domain())) {
      if (backend != model_backend_) result.push_back(backend);
    }
    if (algorithm != UNETD_ATTENTION_NPU) return result;
    for (const auto& backend : registry_.All()) {
      if (backend->domain() != model_backend_->domain()) result.push_back(backend);
    }
    return result;
  }

  Status ReadBackend(const ProcessorRule& rule, LayerBinding& binding) const {
    if (rule.backend.empty()) {
      binding.backends = Candidates(binding.algorithm);
      if (binding.algorithm != UNETD_ATTENTION_NPU) return OkStatus();
      for (const auto& unopened : registry_.unopened()) {
        binding.unopened += (binding.unopened.empty() ? "" : "; ") + unopened.reason.message();
      }
      return OkStatus();
    }
    const std::string path = rule.json_path + ".backend: ";
    auto backend = registry_.Find(rule.backend);
    if (!backend.ok()) return InvalidArgument(path + backend.status().message());
    binding.backends = {*backend};
    if (binding.processor->algorithm == UNETD_ATTENTION_NPU &&
        binding.algorithm != UNETD_ATTENTION_NPU &&
        (*backend)->domain() != model_backend_->domain()) {
      return InvalidArgument(
          Format("{}in float32 {} is sdpa where the model lives (domain '{}'), as in diffusers, "
                 "and '{}' works in domain '{}'; say \"compute\": \"float16\" to use it",
                 path, binding.processor->name, model_backend_->domain(), rule.backend,
                 (*backend)->domain()));
    }
    return OkStatus();
  }

  StatusOr<LayerBinding> Read(const ProcessorRule& rule) const {
    auto row = FindProcessor(rule.processor);
    if (!row.ok()) return row.status().WithContext(rule.json_path + ".processor: ");
    LayerBinding binding;
    binding.processor = *row;
    binding.rule = rule.json_path;
    ASSIGN_OR_RETURN(binding.options, ReadOptions(rule, **row));
    binding.algorithm = (*row)->algorithm;
    if (binding.algorithm == UNETD_ATTENTION_NPU && dtype_ == DType::kFloat32 &&
        binding.options.compute == DType{0}) {
      binding.algorithm = UNETD_ATTENTION_SDPA;
    }
    if (!rule.fallback.empty() && rule.fallback != kFallbackSdpa) {
      return InvalidArgument(
          Format("{}.fallback: expected 'sdpa', got {}", rule.json_path, Quoted(rule.fallback)));
    }
    binding.fallback_to_sdpa = !rule.fallback.empty();
    RETURN_IF_ERROR(ReadBackend(rule, binding));
    if (rule.weights.empty()) return binding;
    if (!(*row)->TakesWeights()) {
      return InvalidArgument(
          Format("{}.weights: {} has no trained weights of its own", rule.json_path, (*row)->name));
    }
    if (rule.weights.extension() != ".safetensors") {
      return InvalidArgument(Format(
          "{}.weights: expected a .safetensors file, got {}; save_attn_procs(folder, "
          "safe_serialization=True) writes one, and a pickle file is converted once, in Python: "
          "safetensors.torch.save_file({{k: v for k, v in torch.load(\"x.bin\").items() if "
          "len(v)}}, \"x.safetensors\")",
          rule.json_path, JsonQuoted(rule.weights.string())));
    }
    auto weights = WeightStore::OpenFolder(rule.weights);
    if (!weights.ok()) {
      return InvalidArgument(rule.json_path + ".weights: " + weights.status().message());
    }
    binding.weights = *std::move(weights);
    return binding;
  }

  Status Apply(const ProcessorRule& rule) {
    ASSIGN_OR_RETURN(const LayerBinding binding, Read(rule));
    bool matched = false, held = binding.weights == nullptr;
    for (const AttentionLayer& layer : layers_) {
      if (!Matches(rule.layers, layer.name)) continue;
      matched = true;
      if (binding.weights != nullptr && !HoldsTrained(*binding.weights, layer)) continue;
      held = true;
      bindings_.layers_[layer.name] = binding;
    }
    if (!matched) {
      return InvalidArgument(
          Format("{}.layers: {} matches none of the model's {} attention layers{}", rule.json_path,
                 Quoted(rule.layers), layers_.size(),
                 layers_.empty() ? "" : Format(" (the first is '{}')", layers_.front().name)));
    }
    if (!held) return HoldsNothing(rule, *binding.weights);
    return OkStatus();
  }

  Status HoldsNothing(const ProcessorRule& rule, const WeightStore& weights) const {
    const std::vector<std::string> names = weights.Names();
    return InvalidArgument(Format(
        "{}.weights: {}: no tensor of a Custom Diffusion processor is for a layer that {} matches; "
        "expected '<layer>.processor.{}' and the like{}",
        rule.json_path, weights.path(), Quoted(rule.layers), kTrainedK,
        names.empty() ? ", the file is empty" : ", its first tensor is " + Quoted(names.front())));
  }

  Status Settle(const AttentionLayer& layer) {
    LayerBinding& binding = bindings_.layers_[layer.name];
    const ProcessorRow& row = *binding.processor;
    RETURN_IF_ERROR(CanServe(row, binding.options, layer).WithContext(binding.rule + ": "));
    if (row.TakesWeights()) {
      RETURN_IF_ERROR(ResolveTrained(row, binding.weights.get(), layer, binding.options)
                          .WithContext(binding.rule));
    }
    const bool frames = row.projection == Projection::kCrossFrame && !layer.is_cross();
    if (frames || row.Has(kMaskOneRow)) bindings_.rows_matter_.push_back(layer.name);
    return OkStatus();
  }

  const std::vector<AttentionLayer>& layers_;
  const BackendRegistry& registry_;
  const std::shared_ptr<Backend>& model_backend_;
  const DType dtype_;
  VariantBindings bindings_;
};

StatusOr<VariantBindings> BindVariant(const VariantSettings& variant,
                                      const std::vector<AttentionLayer>& layers,
                                      const BackendRegistry& registry,
                                      const std::shared_ptr<Backend>& model_backend, DType dtype) {
  return Binder(layers, registry, model_backend, dtype).Run(variant);
}

}  // namespace unetd
