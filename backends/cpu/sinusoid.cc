#include <cmath>
#include <vector>

#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_sinusoid& op = desc.u.sinusoid;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (src.channels != 1 || src.dtype != UNETD_DTYPE_F32) {
    return Unsupported("sinusoid: src0 must have 1 channel of f32, got " +
                       std::to_string(src.channels) + " of " + DTypeName(src.dtype));
  }
  if (op.dim == 0) return Unsupported("sinusoid: dim must be at least 1, got 0");
  uint64_t channels = 0;
  if (__builtin_mul_overflow(src.tokens, uint64_t{op.dim}, &channels)) {
    return Unsupported("sinusoid: tokens of src0 * dim overflows");
  }
  if (Answer a = CheckLike("sinusoid", desc, UNETD_ARG_DST, 1, channels); !a.ok()) return a;
  if (op.flip_sin_to_cos > 1) {
    return Unsupported("sinusoid: flip_sin_to_cos must be 0 or 1, got " +
                       std::to_string(op.flip_sin_to_cos));
  }
  if (op.fourier > 1) {
    return Unsupported("sinusoid: fourier must be 0 or 1, got " + std::to_string(op.fourier));
  }
  if (op.fourier == 0 && op.dim > 1 &&
      (!std::isfinite(op.freq_shift) || static_cast<float>(op.dim / 2) == op.freq_shift)) {
    return Unsupported("sinusoid: freq_shift must be finite and not half of dim, got " +
                       std::to_string(op.freq_shift));
  }
  return Ok();
}

bool HasWeight(const unetd_sinusoid& op) { return op.fourier != 0 && op.dim > 1; }

Answer Recipe(const unetd_op_desc& desc, const Isa&, uint32_t weight, unetd_recipe* recipe) {
  if (weight != 0 || !HasWeight(desc.u.sinusoid)) {
    return Invalid("sinusoid: there is no weight " + std::to_string(weight));
  }
  return VectorRecipe(desc.u.sinusoid.dim / 2, recipe);
}
Answer Pack(const PackJob& job) {
  return PackVector(job, "sinusoid frequencies", job.desc.u.sinusoid.dim / 2);
}

// A task is one scalar.
class Sinusoid : public Kernel {
 public:
  Sinusoid(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc), kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)) {
    const unetd_sinusoid& op = desc.u.sinusoid;
    const uint32_t half = op.dim / 2;
    const float divisor = static_cast<float>(half) - op.freq_shift;
    for (uint32_t i = 0; op.fourier == 0 && i < half; ++i) {
      // -ln(10000) * i / (half - freq_shift), each step rounded to float32 as torch does.
      const float product = -9.210340371976184f * static_cast<float>(i);
      const float exponent = product / divisor;
      frequencies_.push_back(static_cast<float>(std::exp(static_cast<double>(exponent))));
    }
    thread_workspace_bytes = RoundUp(op.dim * sizeof(float), 64);
    description = "sinusoid";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_sinusoid& op = desc_.u.sinusoid;
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    const uint32_t half = op.dim / 2;
    const float* weights = static_cast<const float*>(args.weights[0]);
    if (HasWeight(op) && weights == nullptr) {
      return Invalid("sinusoid: the frequencies are absent from the arguments");
    }
    ParallelRows(
        exec, static_cast<uint32_t>(src.tokens), [&](uint32_t row, uint32_t task, uint32_t thread) {
          const float x = reinterpret_cast<const float*>(
              RowAddress(exec, args.args[UNETD_ARG_SRC0], row))[task * src.stride];
          float* out = reinterpret_cast<float*>(ThreadWorkspace(exec, thread));
          float* sines = out + (op.flip_sin_to_cos != 0 ? half : 0);
          float* cosines = out + (op.flip_sin_to_cos != 0 ? 0 : half);
          for (uint32_t i = 0; i < half; ++i) {
            // x * weight * 2 * pi in this order, as GaussianFourierProjection has it.
            const float angle =
                op.fourier != 0 ? x * weights[i] * 2.0f * 3.14159265f : x * frequencies_[i];
            sines[i] = static_cast<float>(std::sin(static_cast<double>(angle)));
            cosines[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
          }
          if (op.dim % 2 != 0) out[op.dim - 1] = 0;
          kernels_->convert(out, UNETD_DTYPE_F32, op.dim,
                            RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                                uint64_t{task} * op.dim * DTypeBytes(dst.dtype),
                            dst.dtype);
        });
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
  std::vector<float> frequencies_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Sinusoid>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kSinusoidOp = {UNETD_OP_SINUSOID, "sinusoid", Supports, Recipe, Pack, Make};

}  // namespace unetd::cpu
