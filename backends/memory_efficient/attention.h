// A prepared attention: tiled, or with the keys split. Immutable.
#pragma once

#include <cstdint>
#include <string>

#include "backends/memory_efficient/answer.h"
#include "backends/memory_efficient/geometry.h"
#include "backends/memory_efficient/machine.h"
#include "backends/memory_efficient/xformers.h"

namespace unetd::memory_efficient {

class Attention {
 public:
  // After CheckProblem and ChooseOperator.
  Attention(const unetd_op_desc& desc, const Machine& machine, const Choice& choice);

  // May be called by several threads at once, with different execs, which CallCheck has passed.
  // Allocates nothing.
  Answer Run(const unetd_exec& exec, const unetd_args& args) const;

  // Shared by the run: 0 when tiled; the parts' sums of one row when split.
  uint64_t workspace_bytes() const;
  // A thread's: O(block of queries * head_dim), whatever the keys.
  uint64_t thread_workspace_bytes() const;
  const std::string& description() const { return description_; }

 private:
  Head HeadOf(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t head) const;
  void RunTiled(const unetd_exec& exec, const unetd_args& args) const;
  void RunSplit(const unetd_exec& exec, const unetd_args& args, uint32_t row) const;

  const unetd_op_desc desc_;
  const Kernels& kernels_;
  Split split_;        // parts > 1: this is used
  Geometry geometry_;  // of either way
  std::string description_;
};

}  // namespace unetd::memory_efficient
