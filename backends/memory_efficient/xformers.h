// xFormers' operators by name, as its users write them in attention_op, and which of our kernels
// stands for each on a CPU.
#pragma once

#include <string>

#include "backends/memory_efficient/answer.h"

namespace unetd::memory_efficient {

enum class Way { kTiled, kSplitKv };

struct Choice {
  Way way = Way::kTiled;
  std::string name;  // xFormers' own: "cutlassF"
  std::string why;   // "skipped fa3F: device=cpu; fa2F: device=cpu", "as attention_op says"
};

// By the descriptor alone, which CheckProblem has passed. A name that is unknown, or that stands
// for a kernel that cannot serve this descriptor, is refused in xFormers' words: nothing falls
// back.
Answer ChooseOperator(const unetd_op_desc& desc, Choice* choice);

}  // namespace unetd::memory_efficient
