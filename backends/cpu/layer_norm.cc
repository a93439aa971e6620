#include <cmath>

#include "backends/cpu/norm.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_layer_norm& op = desc.u.layer_norm;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckDTypes(desc, false); !a.ok()) return a;
  if (Answer a = CheckStorage(desc, UNETD_ARG_SRC0); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (Answer a = CheckLike("layer_norm", desc, UNETD_ARG_DST, src.tokens, src.channels); !a.ok()) {
    return a;
  }
  if (op.affine > 1) {
    return Unsupported("layer_norm: affine must be 0 or 1, got " + std::to_string(op.affine));
  }
  if (!std::isfinite(op.eps) || op.eps < 0) {
    return Unsupported("layer_norm: eps must be finite and not negative");
  }
  return Ok();
}

Answer Recipe(const unetd_op_desc& desc, const Isa&, uint32_t weight, unetd_recipe* recipe) {
  if (desc.u.layer_norm.affine == 0 || weight > 1) {
    return Invalid("layer_norm: there is no weight " + std::to_string(weight));
  }
  return VectorRecipe(desc.args[UNETD_ARG_DST].channels, recipe);
}
Answer Pack(const PackJob& job) {
  return PackVector(job, job.weight == 0 ? "layer_norm gamma" : "layer_norm beta",
                    job.desc.args[UNETD_ARG_DST].channels);
}

class LayerNorm : public Kernel {
 public:
  LayerNorm(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kNormKernels, &avx512::kNormKernels)),
        blocks_(TokenBlocks(desc.args[UNETD_ARG_DST].tokens, desc.args[UNETD_ARG_DST].channels)) {
    thread_workspace_bytes = NormRoom(desc.args[UNETD_ARG_DST].channels) * sizeof(float);
    description = std::string("layer_norm ") + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    if (Answer a = CheckAffine(desc_.u.layer_norm.affine, args); !a.ok()) return a;
    const bool affine = desc_.u.layer_norm.affine != 0;
    const auto* gamma = affine ? static_cast<const float*>(args.weights[0]) : nullptr;
    const auto* beta = affine ? static_cast<const float*>(args.weights[1]) : nullptr;
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    ParallelRows(exec, blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t thread) {
      const uint64_t first = blocks_.begin(task);
      kernels_->layer_norm(BlockOf(desc_, exec, args, row, first, blocks_.end(task)), gamma, beta,
                           desc_.u.layer_norm.eps,
                           reinterpret_cast<float*>(ThreadWorkspace(exec, thread)),
                           RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                               first * dst.stride * DTypeBytes(dst.dtype),
                           dst.dtype, dst.stride);
    });
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const NormKernels* const kernels_;
  const Blocks blocks_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<LayerNorm>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kLayerNormOp = {UNETD_OP_LAYER_NORM, "layer_norm", Supports, Recipe, Pack, Make};

}  // namespace unetd::cpu
