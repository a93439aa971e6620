#include <cstring>

#include "backends/cpu/ops.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

// Within the host domain, of any dtype.
Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  if (src.dtype != dst.dtype) {
    return Unsupported("copy: dst must be " + DTypeName(src.dtype) + ", as src0 is, got " +
                       DTypeName(dst.dtype));
  }
  if (src.tokens != dst.tokens || src.channels != dst.channels) {
    return Unsupported("copy: dst must be " + std::to_string(src.tokens) + " x " +
                       std::to_string(src.channels) + ", got " + std::to_string(dst.tokens) +
                       " x " + std::to_string(dst.channels));
  }
  return Ok();
}

class Copy : public Kernel {
 public:
  explicit Copy(const unetd_op_desc& desc)
      : desc_(desc),
        blocks_(TokenBlocks(desc.args[UNETD_ARG_DST].tokens, desc.args[UNETD_ARG_DST].channels)) {
    description = "copy";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    const uint64_t bytes = DTypeBytes(src.dtype);
    ParallelRows(exec, blocks_.blocks(), [&](uint32_t row, uint32_t task, uint32_t) {
      const uint8_t* from = RowAddress(exec, args.args[UNETD_ARG_SRC0], row);
      uint8_t* to = RowAddress(exec, args.args[UNETD_ARG_DST], row);
      for (uint64_t t = blocks_.begin(task); t < blocks_.end(task); ++t) {
        std::memmove(to + t * dst.stride * bytes, from + t * src.stride * bytes,
                     src.channels * bytes);
      }
    });
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const Blocks blocks_;
};

Answer Make(const unetd_op_desc& desc, const Isa&, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Copy>(desc);
  return Ok();
}

}  // namespace

const OpEntry kCopyOp = {UNETD_OP_COPY, "copy", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
