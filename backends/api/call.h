// For backends written in C++: what a call of `run` must bring for a prepared descriptor. Not part
// of the ABI.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>

#include "backends/api/answer.h"

namespace unetd::plugin {

// As texts name an argument: "src0", "residual", ...
inline const char* ArgName(uint32_t arg) {
  constexpr const char* kNames[] = {"src0",      "src1",     "src2",     "src3",     "key",
                                    "value",     "mask",     "residual", "row_bias", "row_scale",
                                    "row_shift", "stats_in", "dst",      "stats_out"};
  return arg < std::size(kNames) ? kNames[arg] : "an unknown argument";
}

class CallCheck {
 public:
  CallCheck(const unetd_op_desc& desc, uint64_t workspace_bytes, uint64_t thread_workspace_bytes)
      : workspace_bytes_(workspace_bytes), thread_workspace_bytes_(thread_workspace_bytes) {
    for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
      if (desc.args[arg].tokens != 0) arguments_ |= 1u << arg;
    }
  }

  // Invalid if an argument of the descriptor or a workspace is not there.
  Answer Check(const unetd_exec& exec, const unetd_args& args) const {
    if (exec.struct_size < sizeof(exec)) return Invalid("unetd_exec is too small");
    if (args.struct_size < sizeof(args)) return Invalid("unetd_args is too small");
    for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
      if ((arguments_ >> arg & 1) == 0) continue;
      const unetd_operand& operand = args.args[arg];
      if (operand.present == 0 || operand.space >= UNETD_SPACE_COUNT ||
          exec.spaces[operand.space] == nullptr) {
        return Invalid(std::string(ArgName(arg)) + " is not given");
      }
    }
    if (workspace_bytes_ != 0 && exec.workspace == nullptr) return Invalid("no workspace is given");
    if (thread_workspace_bytes_ != 0 && (exec.thread_workspace == nullptr ||
                                         exec.thread_workspace_stride < thread_workspace_bytes_)) {
      return Invalid("the threads' workspace is too small");
    }
    return Ok();
  }

 private:
  uint32_t arguments_ = 0;  // a bit for each
  uint64_t workspace_bytes_;
  uint64_t thread_workspace_bytes_;
};

}  // namespace unetd::plugin
