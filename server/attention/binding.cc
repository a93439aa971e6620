#include "server/attention/binding.h"

#include <algorithm>

#include "server/base/hash.h"
#include "server/base/text.h"

namespace unetd {
namespace {

constexpr char kFallbackSdpa[] = "sdpa";

bool Matches(std::string_view pattern, const std::string& layer) {
  // diffusers' own keys are the layers' names with ".processor" behind.
  return GlobMatch(pattern, layer) || GlobMatch(pattern, layer + ".processor");
}

std::string OptionNames(const ProcessorRow& row) {
  std::string names;
  for (const OptionSpec& spec : row.options) {
    if (!names.empty()) names += ", ";
    names += spec.name;
  }
  return names.empty() ? "it takes none" : "it takes: " + names;
}

// An option's value as a message may show it.
std::string Shown(const OptionValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? Quoted(*text) : OptionText(value);
}

StatusOr<ProcessorOptions> ReadOptions(const ProcessorRule& rule, const ProcessorRow& row) {
  for (const auto& [name, value] : rule.options) {
    if (row.FindOption(name) == nullptr) {
      return InvalidArgument(Format("{}: {} has no option {}; {}", rule.json_path, row.name,
                                    Quoted(name), OptionNames(row)));
    }
  }
  ProcessorOptions options;
  for (const OptionSpec& spec : row.options) {
    const OptionValue* value = rule.FindOption(spec.name);
    const std::string path = Format("{}.{}", rule.json_path, spec.name);
    if (value == nullptr && spec.required) {
      return InvalidArgument(Format("{}: {} needs it: expected an integer >= 1", path, row.name));
    }
    if (value == nullptr) continue;
    const int64_t* number = std::get_if<int64_t>(value);
    if (number == nullptr || *number < 1 || *number > UINT32_MAX) {
      return InvalidArgument(Format("{}: expected an integer >= 1, got {}", path, Shown(*value)));
    }
    options.slice_size = static_cast<uint32_t>(*number);
  }
  return options;
}

// `first`, then the others of its domain in order.
std::vector<std::shared_ptr<Backend>> Candidates(const BackendRegistry& registry,
                                                 const std::shared_ptr<Backend>& first) {
  std::vector<std::shared_ptr<Backend>> result = {first};
  for (const auto& backend : registry.OfDomain(first->domain())) {
    if (backend != first) result.push_back(backend);
  }
  return result;
}

StatusOr<LayerBinding> ReadRule(const ProcessorRule& rule, const BackendRegistry& registry,
                                const std::shared_ptr<Backend>& model_backend) {
  auto row = FindProcessor(rule.processor);
  if (!row.ok()) return row.status().WithContext(rule.json_path + ".processor: ");
  LayerBinding binding;
  binding.processor = *row;
  binding.rule = rule.json_path;
  ASSIGN_OR_RETURN(binding.options, ReadOptions(rule, **row));
  if (!rule.weights.empty()) {
    return InvalidArgument(
        Format("{}.weights: {} has no trained weights of its own", rule.json_path, (*row)->name));
  }
  if (!rule.fallback.empty() && rule.fallback != kFallbackSdpa) {
    return InvalidArgument(
        Format("{}.fallback: expected 'sdpa', got {}", rule.json_path, Quoted(rule.fallback)));
  }
  binding.fallback_to_sdpa = !rule.fallback.empty();
  if (rule.backend.empty()) {
    binding.backends = Candidates(registry, model_backend);
  } else {
    auto backend = registry.Find(rule.backend);
    if (!backend.ok())
      return InvalidArgument(rule.json_path + ".backend: " + backend.status().message());
    binding.backends = {*backend};
  }
  return binding;
}

std::string FingerprintOf(const std::map<std::string, LayerBinding>& layers) {
  std::string content;
  for (const auto& [name, binding] : layers) {
    content += Format("{}|{}|{}|{}", name, binding.processor->name, binding.OptionsText(),
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
  return processor->FindOption("slice_size") == nullptr
             ? ""
             : Format("slice_size={}", options.slice_size);
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
  return binding == nullptr || binding->rule == kDefaultRule
             ? status
             : status.WithContext(binding->rule + ": ");
}

Status CanServe(const ProcessorRow& row, const ProcessorOptions& options,
                const AttentionLayer& layer) {
  if (row.FindOption("slice_size") != nullptr && options.slice_size > layer.heads) {
    return InvalidArgument(Format("layer '{}' has {} heads, so slice_size must be 1 to {}, got {}",
                                  layer.name, layer.heads, layer.heads, options.slice_size));
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

StatusOr<VariantBindings> BindVariant(const VariantSettings& variant,
                                      const std::vector<AttentionLayer>& layers,
                                      const BackendRegistry& registry,
                                      const std::shared_ptr<Backend>& model_backend) {
  VariantBindings bindings;
  LayerBinding fallback;
  fallback.processor = &DefaultProcessor();
  fallback.backends = Candidates(registry, model_backend);
  for (const AttentionLayer& layer : layers) bindings.layers_[layer.name] = fallback;

  for (const ProcessorRule& rule : variant.processors) {
    ASSIGN_OR_RETURN(const LayerBinding binding, ReadRule(rule, registry, model_backend));
    bool matched = false;
    for (const AttentionLayer& layer : layers) {
      if (!Matches(rule.layers, layer.name)) continue;
      matched = true;
      bindings.layers_[layer.name] = binding;
    }
    if (!matched) {
      return InvalidArgument(
          Format("{}.layers: {} matches none of the model's {} attention layers{}", rule.json_path,
                 Quoted(rule.layers), layers.size(),
                 layers.empty() ? "" : Format(" (the first is '{}')", layers.front().name)));
    }
  }
  // Only what a layer ends up with must fit it: a later rule may be there to make an exception.
  for (const AttentionLayer& layer : layers) {
    const LayerBinding& binding = bindings.layers_[layer.name];
    RETURN_IF_ERROR(
        CanServe(*binding.processor, binding.options, layer).WithContext(binding.rule + ": "));
  }
  bindings.fingerprint_ = FingerprintOf(bindings.layers_);
  return bindings;
}

}  // namespace unetd
