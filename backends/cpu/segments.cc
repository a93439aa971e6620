#include "backends/cpu/segments.h"

namespace unetd::cpu {

Answer CheckSegments(const unetd_op_desc& desc, Segments* segments) {
  *segments = {};
  for (uint32_t arg = UNETD_ARG_SRC0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    const unetd_view& view = desc.args[arg];
    if (!Present(view)) continue;
    if (segments->count != arg) {
      return Unsupported(std::string(ArgName(arg)) + " is there, but not the segment before it");
    }
    if (Answer answer = CheckStorage(desc, arg); !answer.ok()) return answer;
    if (view.tokens != desc.args[UNETD_ARG_SRC0].tokens) {
      return Unsupported(std::string(ArgName(arg)) + " has " + std::to_string(view.tokens) +
                         " tokens, src0 has " + std::to_string(desc.args[UNETD_ARG_SRC0].tokens));
    }
    ++segments->count;
    segments->channels += view.channels;
  }
  return Ok();
}

Answer CheckLike(const char* op, const unetd_op_desc& desc, uint32_t arg, uint64_t tokens,
                 uint64_t channels) {
  if (Answer answer = CheckStorage(desc, arg); !answer.ok()) return answer;
  const unetd_view& view = desc.args[arg];
  if (view.tokens == tokens && view.channels == channels) return Ok();
  return Unsupported(std::string(op) + ": " + ArgName(arg) + " must be " + std::to_string(tokens) +
                     " x " + std::to_string(channels) + ", got " + std::to_string(view.tokens) +
                     " x " + std::to_string(view.channels));
}

Answer CheckActivation(const char* op, uint32_t activation) {
  if (activation <= UNETD_ACT_RELU) return Ok();
  return Unsupported(std::string(op) + ": activation must be none, silu, gelu, mish or relu, got " +
                     (activation == UNETD_ACT_GEGLU ? "geglu (linear only)"
                                                    : "number " + std::to_string(activation)));
}

Answer CheckMovement(const unetd_op_desc& desc) {
  for (const int32_t dtype : {desc.compute_dtype, desc.sum_dtype}) {
    if (dtype != UNETD_DTYPE_NONE && dtype != UNETD_DTYPE_F32) {
      return Unsupported("compute_dtype and sum_dtype must be f32 or none, got " +
                         DTypeName(dtype));
    }
  }
  return Ok();
}

}  // namespace unetd::cpu
