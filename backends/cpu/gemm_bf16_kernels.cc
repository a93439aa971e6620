// The matrix kernel where weights and activations are bfloat16 and the CPU multiplies them in
// pairs: products are exact and sums float32, as the other kernel's.
#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/gemm_task.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

struct PairProducts {
  using Value = BF16;
  using StepType = BF16Pair;
  static uint32_t StepBytes(const GemmPlan&) { return sizeof(BF16Pair); }
  static const TileOf<BF16Pair>* PickTiles(const GemmPlan&, bool half) {
    return half ? Tiles<1, BF16Pair>::kByRows : Tiles<2, BF16Pair>::kByRows;
  }
};

}  // namespace

const GemmKernels kGemmKernels = KernelsOf<PairProducts>();

}  // namespace unetd::cpu::UNETD_ISA
