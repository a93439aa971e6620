// A prepared convolution or linear: the matrix kernel's plan, its tables, and the cutting of a run
// into tasks.
#pragma once

#include <vector>

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/op_table.h"

namespace unetd::cpu {

// The arguments that convolution and linear take, and the checks of them that both share: storage
// dtypes, all sources with one number of tokens, residual as dst, row bias [1, channels of dst].
Answer CheckGemmArgs(const unetd_op_desc& desc);

// Channels of all sources together.
uint64_t SourceChannels(const unetd_op_desc& desc);

// The plan's fields that come from the arguments: tokens, segments, epilogue.
GemmPlan PlanFromArgs(const unetd_op_desc& desc, uint32_t activation, float out_scale);

// Whether products of sources and weights are of bfloat16, in pairs. It decides bits and how
// weights are packed.
bool MultipliesPairs(const unetd_op_desc& desc, const Isa& isa);

// How k is cut into blocks of equal size, by K and the values of k a step alone: it decides how
// sums are rounded.
uint32_t GemmKBlock(uint32_t k, uint32_t step = 1);

// Every part's weights are there.
Answer CheckWeights(const GemmPlan& plan, const unetd_args& args);

// Appends a weight with its bias (an index in unetd_args.weights, or -1).
void AddPart(const Isa& isa, uint32_t weight, int32_t bias, uint32_t rows, bool paired,
             GemmPlan* plan);

class GemmKernel : public Kernel {
 public:
  // Maps may be empty (see GemmPlan). plan.channels and the kernel's size are set; k and its blocks
  // are set here.
  GemmKernel(const Isa& isa, bool pairs, GemmPlan plan, std::vector<int32_t> y_map,
             std::vector<int32_t> x_map);

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override;

 private:
  const GemmKernels& kernels_;
  GemmPlan plan_;
  std::vector<int32_t> y_map_;
  std::vector<int32_t> x_map_;
};

}  // namespace unetd::cpu
