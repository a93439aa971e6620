// Which convolutions go by Winograd's way, and how they are packed and run.
#pragma once

#include <vector>

#include "backends/cpu/gemm.h"
#include "backends/cpu/winograd_kernels.h"

namespace unetd::cpu {

// Outputs a side of a tile, 4 or 2; 0: the direct sum. A fixed rule of the layer, its algorithm and
// its reference size, because it decides bits and packing: by UNETD_CONV_AUTO, F(4, 3) for large
// images, where its digits are worth its speed; F(2, 3), as exact as the direct sum, for small
// ones, whose weights would grow fourfold otherwise. Transformed weights are float32: those stored
// in 16 bits would grow sevenfold by F(2, 3), which is no faster than products of bfloat16, so that
// they are multiplied directly there.
uint32_t WinogradSize(const unetd_op_desc& desc);

// Weight 0; the bias is packed as for the direct sum.
Answer WinogradRecipe(const unetd_op_desc& desc, const Isa& isa, unetd_recipe* recipe);
Answer PackWinograd(const PackJob& job);

class WinogradKernel : public Kernel {
 public:
  // `maps` as WinogradPlan says.
  WinogradKernel(const unetd_op_desc& desc, const Isa& isa, std::vector<int32_t> y_map,
                 std::vector<int32_t> x_map);

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override;

 private:
  const WinogradKernels& kernels_;
  WinogradPlan plan_;
  std::vector<int32_t> y_map_;
  std::vector<int32_t> x_map_;
};

}  // namespace unetd::cpu
