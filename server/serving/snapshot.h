// Snapshot: one variant of one model, immutable. Requests hold the snapshot that they were given
// until they end.
#pragma once

#include <memory>
#include <string>

#include "server/attention/binding.h"
#include "server/plan/conv_policy.h"
#include "server/plan/plan.h"
#include "server/serving/domain.h"
#include "server/unet/unet.h"
#include "server/weights/weight_store.h"

namespace unetd {

struct Snapshot {
  std::string model;
  std::string variant;
  std::shared_ptr<const ModelUNet> unet;
  std::shared_ptr<const WeightStore> weights;
  VariantBindings bindings;
  DType dtype = DType::kFloat32;
  std::shared_ptr<const ConvPolicy> conv;  // the model's
  Domain* domain = nullptr;                // the server's; outlives all snapshots
  std::string fingerprint;                 // 16 hexadecimal digits of what decides the results

  // Fills the fingerprint from the rest. `folder`: the model's.
  void SetFingerprint(const std::string& folder);

  // The plan for inputs of this shape if it is built; null otherwise.
  std::shared_ptr<const Plan> FindPlan(const UNetShape& shape) const;

  struct BuildOptions {
    bool pinned = false;
    const unetd_gang* gang = nullptr;  // for packing
  };
  // The same, built if it is not there. Refused before building where even one row could not run.
  // An error names the layer and the rule that bound it.
  StatusOr<std::shared_ptr<const Plan>> FindOrBuildPlan(const UNetShape& shape,
                                                        const BuildOptions& options) const;

  // Sizes, weights' names and errors, without building anything.
  StatusOr<std::shared_ptr<const Plan>> Structure(const UNetShape& shape) const;

 private:
  std::string PlanKey(const UNetShape& shape) const;
  StatusOr<std::shared_ptr<const Plan>> Build(const UNetShape& shape,
                                              const CompileOptions& options) const;
};

}  // namespace unetd
