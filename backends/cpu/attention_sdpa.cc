#include "backends/cpu/attention_sdpa.h"

#include <algorithm>

#include "backends/cpu/attention.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

constexpr uint32_t kFactors = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_KEY) | Bit(UNETD_ARG_VALUE);

class Sdpa : public Kernel {
 public:
  Sdpa(const unetd_op_desc& desc, const Isa& isa, bool pairs)
      : desc_(desc),
        kernels_(pairs ? &avx512_bf16::kAttentionKernels
                       : isa.Pick(&avx2::kAttentionKernels, &avx512::kAttentionKernels)),
        shape_(ShapeOf(desc, kernels_->panel, pairs)),
        blocks_{shape_.queries, shape_.query_block} {
    thread_workspace_bytes = shape_.floats * sizeof(float);
    description = std::string("sdpa ") + isa.name(pairs) + ": online softmax, " +
                  std::to_string(shape_.query_block) + " queries x " +
                  std::to_string(shape_.key_block) + " keys";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const uint32_t heads = desc_.u.attention.heads;
    ParallelRows(exec, heads * blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t thread) {
      if (IsCancelled(exec)) return;
      const uint32_t block = task % blocks_.blocks();
      const uint64_t first = blocks_.begin(block);
      kernels_->sdpa(shape_, HeadOf(desc_, exec, args, row, task / blocks_.blocks()), first,
                     blocks_.end(block) - first,
                     reinterpret_cast<float*>(ThreadWorkspace(exec, thread)));
    });
    return IsCancelled(exec) ? Cancelled() : Ok();
  }

 private:
  const unetd_op_desc desc_;
  const AttentionKernels* const kernels_;
  const AttentionShape shape_;
  const Blocks blocks_;
};

}  // namespace

Answer MakeSdpa(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Sdpa>(desc, isa, MultipliesBF16(desc, isa, kFactors));
  return Ok();
}

}  // namespace unetd::cpu
