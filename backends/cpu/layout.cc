#include <cmath>

#include "backends/cpu/layout_kernels.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_layout& op = desc.u.layout;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required, true); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  if (op.direction != UNETD_LAYOUT_TO_CHANNELS_LAST && op.direction != UNETD_LAYOUT_TO_PLANAR) {
    return Unsupported("layout: direction must be to channels-last or to planar, got number " +
                       std::to_string(op.direction));
  }
  if (Answer a = CheckStorage(desc, UNETD_ARG_SRC0); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  if (Answer a = CheckLike("layout", desc, UNETD_ARG_DST, src.tokens, src.channels); !a.ok()) {
    return a;
  }
  const bool from_planar = op.direction == UNETD_LAYOUT_TO_CHANNELS_LAST;
  const unetd_view& planar = from_planar ? src : dst;
  const unetd_view& last = from_planar ? dst : src;
  if (planar.stride != 0) {
    return Unsupported(std::string("layout: ") + (from_planar ? "src0" : "dst") +
                       " is planar: its stride must be 0, got " + std::to_string(planar.stride));
  }
  if (last.stride == 0) {
    return Unsupported(std::string("layout: ") + (from_planar ? "dst" : "src0") +
                       " is channels-last: its stride must be at least its channels, got 0");
  }
  if (!std::isfinite(op.scale)) return Unsupported("layout: scale must be finite");
  if (!std::isfinite(op.shift)) return Unsupported("layout: shift must be finite");
  return Ok();
}

class Layout : public Kernel {
 public:
  Layout(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kLayoutKernels, &avx512::kLayoutKernels)),
        blocks_(TokenBlocks(desc.args[UNETD_ARG_DST].tokens, desc.args[UNETD_ARG_DST].channels)) {
    description = std::string("layout ") + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_layout& op = desc_.u.layout;
    const bool to_last = op.direction == UNETD_LAYOUT_TO_CHANNELS_LAST;
    ParallelRows(exec, blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t) {
      const uint64_t first = blocks_.begin(task), tokens = blocks_.end(task) - first;
      const Matrix src = MatrixOf(exec, args, UNETD_ARG_SRC0, row, first);
      const Matrix dst = MatrixOf(exec, args, UNETD_ARG_DST, row, first);
      const uint64_t channels = desc_.args[UNETD_ARG_DST].channels;
      kernels_->transpose(src, dst, to_last ? channels : tokens, to_last ? tokens : channels,
                          op.scale, op.shift);
    });
    return Ok();
  }

 private:
  // The argument from token `first` on: rows are channels where it is planar, else tokens.
  Matrix MatrixOf(const unetd_exec& exec, const unetd_args& args, uint32_t arg, uint32_t row,
                  uint64_t first) const {
    const unetd_view& view = desc_.args[arg];
    const bool planar = view.stride == 0;
    return {RowAddress(exec, args.args[arg], row) +
                (planar ? first : first * view.stride) * DTypeBytes(view.dtype),
            planar ? view.tokens : view.stride, view.dtype};
  }

  const unetd_op_desc desc_;
  const LayoutKernels* const kernels_;
  const Blocks blocks_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Layout>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kLayoutOp = {UNETD_OP_LAYOUT, "layout", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
