// What this backend is asked for: attention, checked. Everything after CheckProblem may trust the
// descriptor.
#pragma once

#include <string>

#include "backends/memory_efficient/answer.h"

namespace unetd::memory_efficient {

inline bool IsThere(const unetd_view& view) { return view.tokens != 0; }
std::string DTypeWord(int32_t dtype);  // as torch says it: "torch.float32"

// UNETD_OK, or why not. Does not look at the name of the operator beyond its terminator.
Answer CheckProblem(const unetd_op_desc& desc);

}  // namespace unetd::memory_efficient
