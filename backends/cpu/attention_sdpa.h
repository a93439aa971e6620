// Attention in O(Q * D) memory: blocks of keys with an online softmax. Takes a workspace per thread
// only.
#pragma once

#include <memory>

#include "backends/cpu/op_table.h"

namespace unetd::cpu {

Answer MakeSdpa(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel);

}  // namespace unetd::cpu
