#include "backends/cpu/norm.h"

namespace unetd::cpu {

NormBlock BlockOf(const unetd_op_desc& desc, const unetd_exec& exec, const unetd_args& args,
                  uint32_t row, uint64_t first, uint64_t last) {
  NormBlock block = {};
  for (uint32_t arg = UNETD_ARG_SRC0; arg < UNETD_MAX_SEGMENTS && Present(desc.args[arg]); ++arg) {
    const unetd_view& view = desc.args[arg];
    block.segments[block.segment_count++] = {
        RowAddress(exec, args.args[arg], row) + first * view.stride * DTypeBytes(view.dtype),
        view.stride, view.channels, view.dtype};
    block.channels += view.channels;
  }
  block.tokens = last - first;
  return block;
}

Answer CheckAffine(uint32_t affine, const unetd_args& args) {
  if (affine == 0 || (args.weights[0] != nullptr && args.weights[1] != nullptr)) return Ok();
  return Invalid("affine, but gamma or beta is absent from the arguments");
}

}  // namespace unetd::cpu
