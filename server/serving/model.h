// ServedModel: a model that was loaded and serves. Immutable; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/backend/registry.h"
#include "server/serving/assignment.h"
#include "server/serving/info.h"
#include "server/serving/snapshot.h"
#include "server/settings/settings.h"

namespace unetd {

class ServedModel {
 public:
  // Reads config, weights and scheduler, binds every variant, then builds and pins the plans
  // of the settings' shapes, and warms them (one run on zeros) where not all kernels are the host's
  // own. Logs one warning for unused tensors and one for unknown keys of each file. `domain`
  // outlives the model. Errors begin with the JSON path.
  static StatusOr<std::shared_ptr<const ServedModel>> Load(const ModelSettings& settings,
                                                           const BackendRegistry& registry,
                                                           Domain& domain);

  const std::string& name() const { return settings_.name; }
  const ModelSettings& settings() const { return settings_; }
  const ModelUNet& unet() const { return *unet_; }
  Domain& domain() const { return *domain_; }
  int64_t max_batch() const { return settings_.max_batch; }
  // The settings' shapes, or the UNet's own; not empty.
  std::vector<Size> DeclaredSizes() const;

  // NOT_FOUND for an unknown pin.
  StatusOr<std::shared_ptr<const Snapshot>> Choose(std::string_view pinned,
                                                   std::string_view id) const;
  const std::vector<std::shared_ptr<const Snapshot>>& variants() const { return variants_; }

  // The text of the scheduler's config, "" if there is none; then where it was looked for says so.
  const std::string& scheduler_text() const { return scheduler_text_; }
  const std::string& scheduler_place() const { return scheduler_place_; }

  // For forwards that requests share, at the warmed shapes; after all models of the domain were
  // loaded, since weights come first. Logs where there is less room than the settings ask for.
  void MakeRoom() const;

  ModelInfo Info() const;
  ModelDescription Describe() const;

 private:
  struct Warmed {
    size_t variant;
    UNetShape shape;
    std::shared_ptr<const Plan> plan;
  };

  explicit ServedModel(const ModelSettings& settings) : settings_(settings) {}
  Status Open(const BackendRegistry& registry, Domain& domain);
  Status OpenScheduler();
  // For plans of the model at any size. `snapshot` is any of its variants, bound.
  std::shared_ptr<const ConvPolicy> MakeConvPolicy(const Snapshot& snapshot) const;
  Status BuildAndWarm();
  void FindUnused();
  BoundLayer Bound(size_t variant, const AttentionLayer& layer) const;

  const ModelSettings settings_;
  Domain* domain_ = nullptr;
  std::shared_ptr<const ModelUNet> unet_;
  std::shared_ptr<WeightStore> weights_;
  std::vector<std::shared_ptr<const Snapshot>> variants_;
  std::unique_ptr<const Assignment> assignment_;
  std::string scheduler_text_, scheduler_place_, scheduler_class_;
  std::vector<Warmed> warmed_;
  std::vector<std::string> unused_;
  uint64_t parameters_ = 0;
};

}  // namespace unetd
