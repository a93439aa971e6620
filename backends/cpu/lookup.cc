#include <cstring>

#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  if (!IsStorage(desc.weight_dtype)) {
    return Unsupported("lookup: weight_dtype must be f32, f16 or bf16, got " +
                       DTypeName(desc.weight_dtype));
  }
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (src.tokens != 1 || src.channels != 1 || src.dtype != UNETD_DTYPE_I32) {
    return Unsupported("lookup: src0 must be 1 x 1 of i32, got " + std::to_string(src.tokens) +
                       " x " + std::to_string(src.channels) + " of " + DTypeName(src.dtype));
  }
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  if (Answer a = CheckLike("lookup", desc, UNETD_ARG_DST, 1, dst.channels); !a.ok()) return a;
  if (desc.u.lookup.entries == 0) return Unsupported("lookup: entries must be at least 1, got 0");
  return Ok();
}

// Rows one after the other in weight_dtype: at most 2^64 / 4 elements, of 4 bytes at most.
Answer Recipe(const unetd_op_desc& desc, const Isa&, uint32_t weight, unetd_recipe* recipe) {
  if (weight != 0) return Invalid("lookup: there is no weight " + std::to_string(weight));
  const uint64_t elements = uint64_t{desc.u.lookup.entries} * desc.args[UNETD_ARG_DST].channels;
  if (elements > uint64_t{1} << 44) return Invalid("lookup: the table is beyond 2^44 elements");
  return SetRecipe("table-" + DTypeName(desc.weight_dtype) + "-" + std::to_string(elements),
                   RoundUp(elements * DTypeBytes(desc.weight_dtype), 64), recipe);
}

Answer Pack(const PackJob& job) {
  const uint64_t channels = job.desc.args[UNETD_ARG_DST].channels;
  const uint64_t dims[] = {job.desc.u.lookup.entries, channels};
  if (Answer a = CheckSource(job.source, "lookup table", 2, dims); !a.ok()) return a;
  const uint64_t elements = dims[0] * channels;
  const uint32_t bytes = DTypeBytes(job.desc.weight_dtype);
  job.isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)
      ->convert(job.source.data, job.source.dtype, elements, job.packed, job.desc.weight_dtype);
  std::memset(static_cast<uint8_t*>(job.packed) + elements * bytes, 0,
              RoundUp(elements * bytes, 64) - elements * bytes);
  return Ok();
}

class Lookup : public Kernel {
 public:
  Lookup(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc), kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)) {
    max_threads = 1;
    description = "lookup";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    const uint8_t* table = static_cast<const uint8_t*>(args.weights[0]);
    if (table == nullptr) return Invalid("lookup: the table is absent from the arguments");
    for (uint32_t row = 0; row < exec.rows; ++row) {
      int32_t index = 0;
      std::memcpy(&index, RowAddress(exec, args.args[UNETD_ARG_SRC0], row), sizeof(index));
      if (index < 0 || static_cast<uint32_t>(index) >= desc_.u.lookup.entries) {
        return Invalid("lookup: entry " + std::to_string(index) + " of " +
                       std::to_string(desc_.u.lookup.entries));
      }
      kernels_->convert(
          table + static_cast<uint64_t>(index) * dst.channels * DTypeBytes(desc_.weight_dtype),
          desc_.weight_dtype, dst.channels, RowAddress(exec, args.args[UNETD_ARG_DST], row),
          dst.dtype);
    }
    return Ok();
  }

 private:
  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Lookup>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kLookupOp = {UNETD_OP_LOOKUP, "lookup", Supports, Recipe, Pack, Make};

}  // namespace unetd::cpu
