// The matrix kernel with float32 products: weights stored in 16 bits are converted as they are
// loaded. Compiled once for each instruction set.
#include "backends/cpu/gemm_kernels.h"

#include "backends/cpu/gemm_task.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

struct FloatProducts {
  using Value = float;
  using StepType = float;
  static uint32_t StepBytes(const GemmPlan& plan) {  // of a column of weights
    return plan.weight_dtype == UNETD_DTYPE_F32 ? 4 : 2;
  }
  // `half`: of the panel's first vector alone.
  static const TileFn* PickTiles(const GemmPlan& plan, bool half) {
    switch (plan.weight_dtype) {
      case UNETD_DTYPE_F16:
        return half ? Tiles<1, F16>::kByRows : Tiles<2, F16>::kByRows;
      case UNETD_DTYPE_BF16:
        return half ? Tiles<1, BF16>::kByRows : Tiles<2, BF16>::kByRows;
      default:
        return half ? Tiles<1, float>::kByRows : Tiles<2, float>::kByRows;
    }
  }
};

}  // namespace

const GemmKernels kGemmKernels = KernelsOf<FloatProducts>();

}  // namespace unetd::cpu::UNETD_ISA
