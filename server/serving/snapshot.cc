#include "server/serving/snapshot.h"

#include <new>

#include "server/base/hash.h"
#include "server/base/text.h"

namespace unetd {

void Snapshot::SetFingerprint(const std::string& folder) {
  const std::string content =
      Format("{}\n{}\n{}\n{}\n{}\n{}\n{}", folder, weights->Fingerprint(), bindings.fingerprint(),
             TorchName(dtype), conv->Key(), domain->backend->name(), domain->backend->version());
  fingerprint = Format("{:016x}", StableHash(content));
}

std::string Snapshot::PlanKey(const UNetShape& shape) const {
  return fingerprint + " " + shape.Key();
}

std::shared_ptr<const Plan> Snapshot::FindPlan(const UNetShape& shape) const {
  return domain->plans->Find(PlanKey(shape));
}

StatusOr<std::shared_ptr<const Plan>> Snapshot::Build(const UNetShape& shape,
                                                      const CompileOptions& options) const {
  try {
    PlanBuilder builder({domain->backend, weights.get(), dtype, conv});
    unet->Emit(builder, shape, bindings);
    StatusOr<std::shared_ptr<const Plan>> plan = Compile(builder, options);
    if (!plan.ok()) return bindings.Explain(plan.status());
    return plan;
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory is left to build a plan");
  }
}

StatusOr<std::shared_ptr<const Plan>> Snapshot::Structure(const UNetShape& shape) const {
  CompileOptions options;
  options.packed = domain->packed.get();
  options.structure_only = true;
  return Build(shape, options);
}

StatusOr<std::shared_ptr<const Plan>> Snapshot::FindOrBuildPlan(const UNetShape& shape,
                                                                const BuildOptions& options) const {
  const auto build = [&]() -> StatusOr<std::shared_ptr<const Plan>> {
    ASSIGN_OR_RETURN(const std::shared_ptr<const Plan> sizes, Structure(shape));
    RETURN_IF_ERROR(domain->CheckFits(*sizes, 1, 1));
    CompileOptions compile;
    compile.packed = domain->packed.get();
    compile.gang = options.gang;
    return Build(shape, compile);
  };
  return domain->plans->FindOrBuild(PlanKey(shape), build, options.pinned);
}

}  // namespace unetd
