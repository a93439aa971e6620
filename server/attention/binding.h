// Bindings: which processor computes which layer, with what options, asked of which backends.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/attention/attention_layer.h"
#include "server/attention/processor_table.h"
#include "server/backend/registry.h"
#include "server/base/status.h"
#include "server/settings/settings.h"

namespace unetd {

inline constexpr char kDefaultRule[] = "default";

// A processor's options as its row understands them; those that it does not take stay as they are
// here.
struct ProcessorOptions {
  uint32_t slice_size = 0;  // heads at a time

  bool operator==(const ProcessorOptions&) const = default;
};

struct LayerBinding {
  const ProcessorRow* processor = nullptr;
  ProcessorOptions options;
  std::string rule = kDefaultRule;                 // or the JSON path of the rule that bound it
  std::vector<std::shared_ptr<Backend>> backends;  // asked in this order
  bool fallback_to_sdpa = false;

  std::string OptionsText() const;  // "slice_size=1"; "" if it has none
};

// A whole variant. Immutable once made.
class VariantBindings {
 public:
  // Null only for a layer that was not bound.
  const LayerBinding* Find(const std::string& layer) const;
  const std::map<std::string, LayerBinding>& layers() const { return layers_; }

  // 16 hexadecimal digits of what decides the results: processors, options, backends and fallbacks
  // of all layers, but not the names of variant and rules.
  const std::string& fingerprint() const { return fingerprint_; }

  // An error of Compile with the rule that bound the layer which it names put before it.
  Status Explain(const Status& status) const;

 private:
  friend StatusOr<VariantBindings> BindVariant(const VariantSettings&,
                                               const std::vector<AttentionLayer>&,
                                               const BackendRegistry&,
                                               const std::shared_ptr<Backend>&);
  std::map<std::string, LayerBinding> layers_;
  std::string fingerprint_;
};

// Resolves the variant's rules over `layers`; later rules override earlier ones. A rule without a
// backend asks `model_backend`, then the others of its domain in the registry's order.
// INVALID_ARGUMENT naming the rule's JSON path: it matches no layer, an unknown processor, option,
// backend or fallback, a bad or missing value, or a processor that cannot serve a layer that it
// binds.
StatusOr<VariantBindings> BindVariant(const VariantSettings& variant,
                                      const std::vector<AttentionLayer>& layers,
                                      const BackendRegistry& registry,
                                      const std::shared_ptr<Backend>& model_backend);

// OK, or why `row` with `options` cannot compute `layer`.
Status CanServe(const ProcessorRow& row, const ProcessorOptions& options,
                const AttentionLayer& layer);

// Names of the processors that can compute `layer` with suitable options.
std::vector<std::string> LegalProcessors(const AttentionLayer& layer);

}  // namespace unetd
