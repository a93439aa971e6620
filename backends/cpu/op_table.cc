#include "backends/cpu/op_table.h"

#include <cstdio>
#include <cstring>

#include "backends/cpu/ops.h"

namespace unetd::cpu {
namespace {

// Every operator of this backend.
constexpr const OpEntry* kOps[] = {
    &kConv2dOp,    &kLinearOp,    &kAttentionOp, &kCopyOp,   &kElementwiseOp, &kGatherRowsOp,
    &kGroupNormOp, &kLayerNormOp, &kLayoutOp,    &kLookupOp, &kResizeOp,      &kSinusoidOp,
};

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t exponent = (bits >> 10) & 0x1f;
  uint32_t fraction = bits & 0x3ff;
  uint32_t word;
  if (exponent == 0x1f) {
    word = 0x7f800000 | fraction << 13;
  } else if (exponent != 0) {
    word = (exponent + 112) << 23 | fraction << 13;
  } else if (fraction != 0) {  // denormal: shifted up to its leading one
    exponent = 113;
    while ((fraction & 0x400) == 0) {
      fraction <<= 1;
      --exponent;
    }
    word = exponent << 23 | (fraction & 0x3ff) << 13;
  } else {
    word = 0;
  }
  word |= sign;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

float BrainToFloat(uint16_t bits) {
  const uint32_t word = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof(value));
  return value;
}

Answer CheckArg(const unetd_op_desc& desc, uint32_t arg, bool planar) {
  const unetd_view& view = desc.args[arg];
  const std::string name = ArgName(arg);
  if (view.channels == 0) return Unsupported(name + " has no channels");
  const uint32_t bytes = DTypeBytes(view.dtype);
  if (bytes == 0) return Unsupported(name + " has unknown dtype " + std::to_string(view.dtype));
  const bool is_planar = planar && view.stride == 0;
  if (!is_planar && view.stride < view.channels) {
    return Unsupported(name + " has stride " + std::to_string(view.stride) + ", below its " +
                       std::to_string(view.channels) + " channels");
  }
  constexpr uint64_t kMaxBytes = uint64_t{1} << 46;
  uint64_t total = 0;
  if (__builtin_mul_overflow(view.tokens, is_planar ? view.channels : view.stride, &total) ||
      __builtin_mul_overflow(total, bytes, &total) || total > kMaxBytes) {
    return Unsupported(name + " is too large: " + std::to_string(view.tokens) + " tokens of " +
                       std::to_string(is_planar ? view.channels : view.stride));
  }
  return Ok();
}

}  // namespace

const OpEntry* FindOp(uint32_t kind) {
  for (const OpEntry* op : kOps) {
    if (op->kind == kind) return op;
  }
  return nullptr;
}

std::string DTypeName(int32_t dtype) {
  switch (dtype) {
    case UNETD_DTYPE_NONE:
      return "none";
    case UNETD_DTYPE_F32:
      return "f32";
    case UNETD_DTYPE_F16:
      return "f16";
    case UNETD_DTYPE_BF16:
      return "bf16";
    case UNETD_DTYPE_F64:
      return "f64";
    case UNETD_DTYPE_BOOL:
      return "bool";
    case UNETD_DTYPE_I8:
      return "i8";
    case UNETD_DTYPE_I16:
      return "i16";
    case UNETD_DTYPE_I32:
      return "i32";
    case UNETD_DTYPE_I64:
      return "i64";
    case UNETD_DTYPE_U8:
      return "u8";
    case UNETD_DTYPE_U16:
      return "u16";
    case UNETD_DTYPE_U32:
      return "u32";
    case UNETD_DTYPE_U64:
      return "u64";
    default:
      return "unknown dtype " + std::to_string(dtype);
  }
}

Answer CheckArgs(const unetd_op_desc& desc, uint32_t allowed, uint32_t required, bool planar) {
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    if (!Present(desc.args[arg])) {
      if (required & Bit(arg)) return Unsupported(std::string(ArgName(arg)) + " is absent");
      continue;
    }
    if (!(allowed & Bit(arg))) {
      return Unsupported(std::string(ArgName(arg)) + " is not served by this operator");
    }
    if (Answer a = CheckArg(desc, arg, planar); !a.ok()) return a;
  }
  return Ok();
}

Answer CheckStorage(const unetd_op_desc& desc, uint32_t arg) {
  const unetd_view& view = desc.args[arg];
  if (Present(view) && !IsStorage(view.dtype)) {
    return Unsupported(std::string(ArgName(arg)) + " is " + DTypeName(view.dtype) +
                       ", expected f32, f16 or bf16");
  }
  return Ok();
}

Answer CheckDTypes(const unetd_op_desc& desc, bool has_weights) {
  if (has_weights && !IsStorage(desc.weight_dtype)) {
    return Unsupported("weight_dtype is " + DTypeName(desc.weight_dtype) +
                       ", expected f32, f16 or bf16");
  }
  if (desc.compute_dtype != UNETD_DTYPE_F32 && desc.compute_dtype != UNETD_DTYPE_BF16) {
    return Unsupported("compute_dtype is " + DTypeName(desc.compute_dtype) +
                       ", expected f32 or bf16");
  }
  if (desc.sum_dtype != UNETD_DTYPE_F32) {
    return Unsupported("sum_dtype is " + DTypeName(desc.sum_dtype) + ", expected f32");
  }
  return Ok();
}

bool MultipliesBF16(const unetd_op_desc& desc, const Isa& isa, uint32_t factors) {
  if (!isa.bf16 || desc.compute_dtype != UNETD_DTYPE_BF16) return false;
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const unetd_view& view = desc.args[arg];
    if ((factors & Bit(arg)) != 0 && Present(view) && view.dtype != UNETD_DTYPE_BF16) return false;
  }
  return true;
}

Answer CheckSource(const unetd_weight& source, const char* what, uint32_t rank,
                   const uint64_t* dims) {
  const auto shape = [](uint32_t n, const uint64_t* sizes) {
    std::string text = "[";
    for (uint32_t i = 0; i < n; ++i) text += (i > 0 ? ", " : "") + std::to_string(sizes[i]);
    return text + "]";
  };
  if (source.data == nullptr) return Invalid(std::string(what) + " has no data");
  if (!IsStorage(source.dtype)) {
    return Invalid(std::string(what) + " is " + DTypeName(source.dtype) +
                   ", expected f32, f16 or bf16");
  }
  if (source.rank != rank || std::memcmp(source.dims, dims, rank * sizeof(*dims)) != 0) {
    return Invalid(std::string(what) + " is " +
                   shape(source.rank > 4 ? 0 : source.rank, source.dims) + ", expected " +
                   shape(rank, dims));
  }
  return Ok();
}

void ConvertToFloat(const void* source, int32_t dtype, uint64_t count, float* out) {
  if (dtype == UNETD_DTYPE_F32) {
    std::memcpy(out, source, count * sizeof(float));
    return;
  }
  const uint8_t* bytes = static_cast<const uint8_t*>(source);
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes + 2 * i, sizeof(bits));
    out[i] = dtype == UNETD_DTYPE_F16 ? HalfToFloat(bits) : BrainToFloat(bits);
  }
}

Answer VectorRecipe(uint64_t count, unetd_recipe* recipe) {
  return SetRecipe("f32-vector-" + std::to_string(count), RoundUp(count * sizeof(float), 64),
                   recipe);
}

Answer PackVector(const PackJob& job, const char* what, uint64_t count) {
  if (Answer a = CheckSource(job.source, what, 1, &count); !a.ok()) return a;
  std::memset(job.packed, 0, RoundUp(count * sizeof(float), 64));
  ConvertToFloat(job.source.data, job.source.dtype, count, static_cast<float*>(job.packed));
  return Ok();
}

Answer SetRecipe(const std::string& name, uint64_t bytes, unetd_recipe* recipe) {
  if (name.size() >= sizeof(recipe->name)) return {UNETD_FAILED, "recipe name too long: " + name};
  std::snprintf(recipe->name, sizeof(recipe->name), "%s", name.c_str());
  recipe->bytes = bytes;
  return Ok();
}

}  // namespace unetd::cpu
