#include <algorithm>

#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  if (Answer a = CheckStorage(desc, UNETD_ARG_SRC0); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (Answer a = CheckLike("gather_rows", desc, UNETD_ARG_DST, src.tokens, src.channels); !a.ok()) {
    return a;
  }
  if (desc.u.gather_rows.batch_size == 0) {
    return Unsupported("gather_rows: batch_size must be at least 1, got 0");
  }
  return Ok();
}

class GatherRows : public Kernel {
 public:
  GatherRows(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)),
        blocks_(TokenBlocks(desc.args[UNETD_ARG_DST].tokens, desc.args[UNETD_ARG_DST].channels)) {
    description = std::string("gather_rows ") + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    if (exec.group_first == nullptr || exec.group_size == nullptr) {
      return Invalid("gather_rows: the rows' groups are absent");
    }
    for (uint32_t row = 0; row < exec.rows; ++row) {
      const uint32_t first = exec.group_first[row], size = exec.group_size[row];
      if (first > row || size > exec.rows - first || row - first >= size) {
        return Invalid("gather_rows: row " + std::to_string(row) + " is not in its group of " +
                       std::to_string(size) + " rows from " + std::to_string(first) + ", or " +
                       std::to_string(exec.rows) + " rows do not hold that");
      }
    }
    ParallelRows(exec, blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t) {
      const uint32_t first = exec.group_first[row];
      const uint32_t frames = std::max(1u, exec.group_size[row] / desc_.u.gather_rows.batch_size);
      const uint32_t from = first + (row - first) / frames * frames;
      for (uint64_t t = blocks_.begin(task); t < blocks_.end(task); ++t) {
        kernels_->convert(RowAddress(exec, args.args[UNETD_ARG_SRC0], from) +
                              t * src.stride * DTypeBytes(src.dtype),
                          src.dtype, src.channels,
                          RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                              t * dst.stride * DTypeBytes(dst.dtype),
                          dst.dtype);
      }
    });
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
  const Blocks blocks_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<GatherRows>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kGatherRowsOp = {
    UNETD_OP_GATHER_ROWS, "gather_rows", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
