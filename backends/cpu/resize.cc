#include <vector>

#include "backends/cpu/index_map.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

std::string Size(uint32_t h, uint32_t w) { return std::to_string(h) + " x " + std::to_string(w); }

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_resize& op = desc.u.resize;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  if (Answer a = CheckStorage(desc, UNETD_ARG_SRC0); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (uint64_t{op.in_h} * op.in_w != src.tokens) {
    return Unsupported("resize: in_h x in_w is " + Size(op.in_h, op.in_w) + ", src0 has " +
                       std::to_string(src.tokens) + " tokens");
  }
  if (Answer a =
          CheckLike("resize", desc, UNETD_ARG_DST, uint64_t{op.out_h} * op.out_w, src.channels);
      !a.ok()) {
    return a;
  }
  switch (op.mode) {
    case UNETD_RESIZE_NEAREST:
      return Ok();
    case UNETD_RESIZE_AVERAGE_2X2:
      if (op.out_h == op.in_h / 2 && op.out_w == op.in_w / 2) return Ok();
      return Unsupported("resize: the 2 x 2 average of " + Size(op.in_h, op.in_w) + " is " +
                         Size(op.in_h / 2, op.in_w / 2) + ", not out_h x out_w " +
                         Size(op.out_h, op.out_w));
    default:
      return Unsupported("resize: mode must be nearest or average 2x2, got number " +
                         std::to_string(op.mode));
  }
}

// A task is an output row of pixels.
class Resize : public Kernel {
 public:
  Resize(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc), kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)) {
    const unetd_resize& op = desc.u.resize;
    const bool nearest = op.mode == UNETD_RESIZE_NEAREST;
    for (uint32_t x = 0; nearest && x < op.out_w; ++x) {
      columns_.push_back(NearestSource(x, op.in_w, op.out_w));
    }
    description = std::string(nearest ? "resize nearest " : "resize average 2x2 ") + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_resize& op = desc_.u.resize;
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    ParallelRows(exec, op.out_h, [&](uint32_t row, uint32_t y, uint32_t) {
      const uint8_t* from = RowAddress(exec, args.args[UNETD_ARG_SRC0], row);
      uint8_t* to = RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                    uint64_t{y} * op.out_w * dst.stride * DTypeBytes(dst.dtype);
      const auto pixel = [&](uint64_t in_y, uint64_t in_x) {
        return from + (in_y * op.in_w + in_x) * src.stride * DTypeBytes(src.dtype);
      };
      for (uint32_t x = 0; x < op.out_w; ++x, to += dst.stride * DTypeBytes(dst.dtype)) {
        if (op.mode == UNETD_RESIZE_NEAREST) {
          kernels_->convert(pixel(NearestSource(y, op.in_h, op.out_h), columns_[x]), src.dtype,
                            src.channels, to, dst.dtype);
        } else {
          const uint64_t in_y = uint64_t{y} * 2, in_x = uint64_t{x} * 2;
          const void* const sources[4] = {pixel(in_y, in_x), pixel(in_y, in_x + 1),
                                          pixel(in_y + 1, in_x), pixel(in_y + 1, in_x + 1)};
          kernels_->average(sources, src.dtype, src.channels, to, dst.dtype);
        }
      }
    });
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
  std::vector<uint32_t> columns_;  // nearest: the source column of each output column
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Resize>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kResizeOp = {UNETD_OP_RESIZE, "resize", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
