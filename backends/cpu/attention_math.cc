#include "backends/cpu/attention_math.h"

#include <algorithm>

#include "backends/cpu/attention.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

class Math : public Kernel {
 public:
  Math(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kAttentionKernels, &avx512::kAttentionKernels)),
        shape_(ShapeOf(desc, kernels_->panel, false)),
        blocks_{shape_.queries, shape_.query_block},
        slice_(desc.u.attention.algorithm == UNETD_ATTENTION_SLICED ? desc.u.attention.slice_size
                                                                    : desc.u.attention.heads) {
    workspace_bytes = RoundUp(slice_ * shape_.queries * shape_.keys * sizeof(float), 64);
    thread_workspace_bytes = shape_.floats * sizeof(float);
    description = std::string(slice_ == desc.u.attention.heads ? "math " : "sliced ") + isa.name() +
                  ": scores of " + std::to_string(slice_) + " heads at a time";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const uint32_t heads = desc_.u.attention.heads;
    const uint64_t matrix = shape_.queries * shape_.keys;
    for (uint32_t row = 0; row < exec.rows; ++row) {
      for (uint32_t from = 0; from < heads; from += slice_) {
        if (IsCancelled(exec)) return Cancelled();
        const uint32_t count = std::min(slice_, heads - from);
        Parallel(exec.gang, count * blocks_.blocks(), [&](uint32_t task, uint32_t thread) {
          if (IsCancelled(exec)) return;
          const uint32_t head = task / blocks_.blocks(), block = task % blocks_.blocks();
          const uint64_t first = blocks_.begin(block);
          kernels_->math(shape_, HeadOf(desc_, exec, args, row, from + head), first,
                         blocks_.end(block) - first,
                         reinterpret_cast<float*>(exec.workspace) + head * matrix,
                         reinterpret_cast<float*>(ThreadWorkspace(exec, thread)));
        });
      }
    }
    return IsCancelled(exec) ? Cancelled() : Ok();
  }

 private:
  const unetd_op_desc desc_;
  const AttentionKernels* const kernels_;
  const AttentionShape shape_;
  const Blocks blocks_;
  const uint32_t slice_;
};

}  // namespace

Answer MakeMath(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Math>(desc, isa);
  return Ok();
}

}  // namespace unetd::cpu
