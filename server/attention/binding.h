// Bindings: which processor computes which layer, with what options, asked of which backends.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/attention/attention_layer.h"
#include "server/attention/can_serve.h"
#include "server/attention/processor_options.h"
#include "server/attention/processor_table.h"
#include "server/backend/registry.h"
#include "server/base/status.h"
#include "server/settings/settings.h"
#include "server/tensor/dtype.h"
#include "server/weights/weight_store.h"

namespace unetd {

inline constexpr char kDefaultRule[] = "default";

struct LayerBinding {
  const ProcessorRow* processor = nullptr;
  uint32_t algorithm = UNETD_ATTENTION_SDPA;  // the processor's, or what it is in this dtype
  ProcessorOptions options;
  // Of a trained processor: of the rule, so shared by its layers. Null: it has none.
  std::shared_ptr<const WeightStore> weights;
  std::string rule = kDefaultRule;                 // or the JSON path of the rule that bound it
  std::vector<std::shared_ptr<Backend>> backends;  // asked in this order
  bool fallback_to_sdpa = false;
  std::string unopened;  // why those that might serve the algorithm could not be opened; or ""

  std::string OptionsText() const;  // "slice_size=1", "..., weights=FILE"; "" if it has none
};

// A whole variant. Immutable once made; keeps the files of trained processors open.
class VariantBindings {
 public:
  // Null only for a layer that was not bound.
  const LayerBinding* Find(const std::string& layer) const;
  const std::map<std::string, LayerBinding>& layers() const { return layers_; }
  // Layers whose processor may refuse a number of rows: see CheckRowGroup.
  const std::vector<std::string>& rows_matter() const { return rows_matter_; }

  // 16 hexadecimal digits of what decides the results: processors, options, trained weights,
  // backends and fallbacks of all layers, but not the names of variant and rules.
  const std::string& fingerprint() const { return fingerprint_; }

  // An error of Compile with the rule that bound the layer which it names put before it, and what
  // could not be opened behind it.
  Status Explain(const Status& status) const;

 private:
  friend class Binder;
  std::map<std::string, LayerBinding> layers_;
  std::vector<std::string> rows_matter_;
  std::string fingerprint_;
};

// Resolves the variant's rules over `layers`; later rules override earlier ones. A rule whose file
// of trained weights holds nothing for a layer leaves that layer as it was. A rule without a
// backend asks `model_backend`, then the others of its domain in the registry's order; then, for
// the npu algorithm, those of other domains. `dtype`: the model's. INVALID_ARGUMENT naming the
// rule's JSON path: it matches no layer, an unknown processor, option, backend or fallback, a bad
// or missing value, trained weights that do not fit, or a processor that cannot serve a layer that
// it binds.
StatusOr<VariantBindings> BindVariant(const VariantSettings& variant,
                                      const std::vector<AttentionLayer>& layers,
                                      const BackendRegistry& registry,
                                      const std::shared_ptr<Backend>& model_backend,
                                      DType dtype = DType::kFloat32);

}  // namespace unetd
