#include <cmath>

#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

// row_scale holds one factor a token, not one a channel.
bool ByToken(const unetd_op_desc& desc) {
  const unetd_view& factor = desc.args[UNETD_ARG_ROW_SCALE];
  return Present(factor) && factor.channels == 1 &&
         factor.tokens == desc.args[UNETD_ARG_DST].tokens;
}

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_elementwise& op = desc.u.elementwise;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  const uint32_t allowed =
      kSegmentBits | required | Bit(UNETD_ARG_RESIDUAL) | Bit(UNETD_ARG_ROW_SCALE);
  if (Answer a = CheckArgs(desc, allowed, required); !a.ok()) return a;
  if (Answer a = CheckDTypes(desc, false); !a.ok()) return a;
  Segments segments;
  if (Answer a = CheckSegments(desc, &segments); !a.ok()) return a;
  const uint64_t tokens = desc.args[UNETD_ARG_SRC0].tokens;
  unetd_op_desc floats = desc;  // dst may hold bools too
  if (desc.args[UNETD_ARG_DST].dtype == UNETD_DTYPE_BOOL) {
    floats.args[UNETD_ARG_DST].dtype = UNETD_DTYPE_F32;
  }
  for (const uint32_t arg : {UNETD_ARG_DST, UNETD_ARG_RESIDUAL}) {
    if (!Present(desc.args[arg])) continue;
    if (Answer a = CheckLike("elementwise", floats, arg, tokens, segments.channels); !a.ok()) {
      return a;
    }
  }
  const unetd_view& factor = desc.args[UNETD_ARG_ROW_SCALE];
  if (Present(factor) && !ByToken(desc)) {
    if (Answer a = CheckLike("elementwise", desc, UNETD_ARG_ROW_SCALE, 1, segments.channels);
        !a.ok()) {
      return a;
    }
  }
  if (Answer a = CheckStorage(desc, UNETD_ARG_ROW_SCALE); !a.ok()) return a;
  if (!std::isfinite(op.scale)) return Unsupported("elementwise: scale must be finite");
  if (!std::isfinite(op.shift)) return Unsupported("elementwise: shift must be finite");
  return CheckActivation("elementwise", op.activation);
}

class Elementwise : public Kernel {
 public:
  Elementwise(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)),
        blocks_(TokenBlocks(desc.args[UNETD_ARG_DST].tokens, desc.args[UNETD_ARG_DST].channels)),
        by_token_(ByToken(desc)),
        dense_(IsDense(desc)) {
    description = std::string("elementwise ") + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    ParallelRows(exec, blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t) {
      const uint64_t first = blocks_.begin(task), last = blocks_.end(task);
      uint64_t channel = 0;
      for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS && Present(desc_.args[arg]); ++arg) {
        const uint32_t channels = desc_.args[arg].channels;
        if (dense_) {
          Part(exec, args, row, arg, 0, first, (last - first) * channels);
        } else {
          for (uint64_t t = first; t < last; ++t) Part(exec, args, row, arg, channel, t, channels);
        }
        channel += channels;
      }
    });
    return Ok();
  }

 private:
  // Tokens lie side by side in every argument, so that a block is one run.
  static bool IsDense(const unetd_op_desc& desc) {
    for (const unetd_view& view : desc.args) {
      if (Present(view) && view.stride != view.channels) return false;
    }
    return !Present(desc.args[UNETD_ARG_SRC1]) && !Present(desc.args[UNETD_ARG_ROW_SCALE]);
  }

  // `count` elements from the first channel of segment `arg` in token `token`; `channel` is that
  // channel's place in dst.
  void Part(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t arg,
            uint64_t channel, uint64_t token, uint64_t count) const {
    const auto at = [&](uint32_t id, uint64_t in_token, uint64_t first) -> uint8_t* {
      const unetd_view& view = desc_.args[id];
      if (!Present(view)) return nullptr;
      return RowAddress(exec, args.args[id], row) +
             (in_token * view.stride + first) * DTypeBytes(view.dtype);
    };
    const auto run = [&](uint32_t id, uint64_t in_token, uint64_t first) {
      return ElementRun{at(id, in_token, first), desc_.args[id].dtype};
    };
    kernels_->transform(desc_.u.elementwise, run(arg, token, 0),
                        run(UNETD_ARG_ROW_SCALE, by_token_ ? token : 0, by_token_ ? 0 : channel),
                        by_token_, run(UNETD_ARG_RESIDUAL, token, channel), count,
                        at(UNETD_ARG_DST, token, channel), desc_.args[UNETD_ARG_DST].dtype);
  }

  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
  const Blocks blocks_;
  const bool by_token_;
  const bool dense_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Elementwise>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kElementwiseOp = {
    UNETD_OP_ELEMENTWISE, "elementwise", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
