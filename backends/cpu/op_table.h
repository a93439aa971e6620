// How an operator joins the cpu backend: it fills one OpEntry (plain functions, no exception needed
// but any is caught), names it in op_table.cc, and derives a Kernel. Files come in two sorts.
// - x.cc, x.h: compiled once for any x86-64: checks, packing of descriptors, cutting into tasks.
// - x_kernels.cc: compiled twice (AVX2 and AVX-512) through simd.h, in namespace unetd::cpu::avx2
//   and ::avx512; x_bf16_kernels.cc: once, in ::avx512_bf16. They include no header of the standard
//   library that holds inline functions or templates (<cstdint>, <cstddef> and <cstring> are fine):
//   the linker would keep one copy of each such function, perhaps the AVX-512 one, for everybody.
//   Their x_kernels.h holds a struct of function pointers, an instance of which each namespace
//   defines; Isa::Pick chooses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/api/answer.h"
#include "backends/api/call.h"
#include "backends/cpu/types.h"

namespace unetd::cpu {

using plugin::Answer;
using plugin::ArgName;
using plugin::Guard;
using plugin::Invalid;
using plugin::Ok;
using plugin::Unsupported;
inline Answer Cancelled() { return {UNETD_CANCELLED, "cancelled"}; }

// The instruction set in use, chosen once at open: it decides bits.
struct Isa {
  bool avx512 = false;
  bool bf16 = false;  // AVX512_BF16 besides: where a descriptor allows it, products are of bfloat16

  // Of the kernels that Pick chooses, or of those that multiply bfloat16.
  const char* name(bool of_bf16 = false) const {
    return of_bf16 ? "avx512_bf16" : avx512 ? "avx512" : "avx2";
  }
  uint32_t lanes() const { return avx512 ? 16 : 8; }  // floats a vector
  // isa.Pick(&avx2::kNormKernels, &avx512::kNormKernels)
  template <typename T>
  T Pick(T for_avx2, T for_avx512) const {
    return avx512 ? for_avx512 : for_avx2;
  }
};

// A prepared descriptor. Immutable: Run may be called by several threads at once, with different
// execs.
class Kernel {
 public:
  virtual ~Kernel() = default;
  // Allocates nothing unless it fails. Arguments' presence has been checked against the descriptor,
  // and workspaces are as large as asked.
  virtual Answer Run(const unetd_exec& exec, const unetd_args& args) const = 0;

  // Set by make.
  uint64_t workspace_bytes = 0;
  uint64_t thread_workspace_bytes = 0;  // multiples of 64, so that each thread's is aligned
  uint32_t max_threads = 0;             // 0: no limit
  std::string description;              // which kernel serves it, for people
};

// One weight to be packed. `gang` may be null: then on the calling thread.
struct PackJob {
  const unetd_op_desc& desc;
  const Isa& isa;
  uint32_t weight;  // its index in unetd_args.weights
  const unetd_weight& source;
  const unetd_gang* gang;
  void* packed;  // recipe.bytes, 64-byte aligned
};

// plugin.cc calls `supports` before any other entry, so that those may trust the descriptor.
// pack_recipe and pack are null where the operator has no weights; pack must check source's dtype,
// rank and dims.
struct OpEntry {
  uint32_t kind;
  const char* name;
  Answer (*supports)(const unetd_op_desc& desc, const Isa& isa);
  Answer (*pack_recipe)(const unetd_op_desc& desc, const Isa& isa, uint32_t weight,
                        unetd_recipe* recipe);
  Answer (*pack)(const PackJob& job);
  Answer (*make)(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel);
};

// The operator of this kind; null if there is none. The one table, in op_table.cc.
const OpEntry* FindOp(uint32_t kind);

// ---- what operators share (op_table.cc) ----

inline bool Present(const unetd_view& view) { return view.tokens != 0; }
std::string DTypeName(int32_t dtype);  // "float32", ...

// Refuses, naming the argument: one whose bit is not in `allowed`, one of `required` that is
// absent, a stride below channels (0 is let pass with `planar`), no channels, an unknown dtype, or
// sizes whose product overflows 2^46 bytes. Every operator's supports begins with it.
constexpr uint32_t Bit(uint32_t arg) { return 1u << arg; }
Answer CheckArgs(const unetd_op_desc& desc, uint32_t allowed, uint32_t required,
                 bool planar = false);
// The dtype of argument `arg`, if present, is F32, F16 or BF16.
Answer CheckStorage(const unetd_op_desc& desc, uint32_t arg);
// weight_dtype is F32, F16 or BF16 (looked at only if `has_weights`); compute_dtype is F32, or BF16
// (kernels may compute in float32 all the same); sum_dtype is F32.
Answer CheckDTypes(const unetd_op_desc& desc, bool has_weights);
// Whether products are of bfloat16, in pairs: the descriptor allows it, the arguments that are
// multiplied (their bits) are bfloat16 and the CPU has it. It decides bits.
bool MultipliesBF16(const unetd_op_desc& desc, const Isa& isa, uint32_t factors);
// The source has exactly these dims (rank <= 4), dtype F32, F16 or BF16, and data. `what` names it.
Answer CheckSource(const unetd_weight& source, const char* what, uint32_t rank,
                   const uint64_t* dims);

// Reads F32, F16 or BF16 as float (baseline code: for vectors such as bias and gamma).
void ConvertToFloat(const void* source, int32_t dtype, uint64_t count, float* out);
// Name "f32-vector-<count>": `count` floats, and bytes rounded up to 64, the rest zeros. For gamma,
// beta, bias.
Answer VectorRecipe(uint64_t count, unetd_recipe* recipe);
Answer PackVector(const PackJob& job, const char* what, uint64_t count);
// name must fit.
Answer SetRecipe(const std::string& name, uint64_t bytes, unetd_recipe* recipe);

// The address of an argument of one row.
inline uint8_t* RowAddress(const unetd_exec& exec, const unetd_operand& operand, uint32_t row) {
  return exec.spaces[operand.space][row] + operand.offset;
}
inline uint8_t* ThreadWorkspace(const unetd_exec& exec, uint32_t thread) {
  return exec.thread_workspace + thread * exec.thread_workspace_stride;
}
inline bool IsCancelled(const unetd_exec& exec) {
  return exec.cancel != nullptr && __atomic_load_n(exec.cancel, __ATOMIC_RELAXED) != 0;
}
inline uint64_t RoundUp(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// body(task, thread) for tasks 0..tasks-1 on the gang (thread 0 alone if gang is null). body must
// not throw; nothing is allocated.
template <typename Body>
void Parallel(const unetd_gang* gang, uint32_t tasks, const Body& body) {
  if (gang == nullptr || gang->threads <= 1 || tasks <= 1) {
    for (uint32_t task = 0; task < tasks; ++task) body(task, 0u);
    return;
  }
  gang->parallel(
      gang->self, tasks,
      [](void* context, uint32_t task, uint32_t thread) {
        (*static_cast<const Body*>(context))(task, thread);
      },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace unetd::cpu
