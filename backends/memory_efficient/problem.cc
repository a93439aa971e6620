#include "backends/memory_efficient/problem.h"

#include <cmath>
#include <cstring>
#include <iterator>

namespace unetd::memory_efficient {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 46;  // of an argument
constexpr uint32_t kMostHeadDim = 65536;            // cutlass' limit

const char* NameOf(uint32_t arg) {
  switch (arg) {
    case UNETD_ARG_SRC0:
      return "src0";
    case UNETD_ARG_KEY:
      return "key";
    case UNETD_ARG_VALUE:
      return "value";
    case UNETD_ARG_MASK:
      return "mask";
    case UNETD_ARG_DST:
      return "dst";
    default:
      return "";
  }
}

std::string Text(uint64_t number) { return std::to_string(number); }

Answer WrongSize(uint32_t arg, const std::string& expected, uint64_t got) {
  return Unsupported(std::string("attention: ") + NameOf(arg) + " must have " + expected +
                     ", got " + Text(got));
}

bool Stored(int32_t dtype) {
  return dtype == UNETD_DTYPE_F32 || dtype == UNETD_DTYPE_F16 || dtype == UNETD_DTYPE_BF16;
}

// One argument by itself.
Answer CheckView(const unetd_op_desc& desc, uint32_t arg) {
  const unetd_view& view = desc.args[arg];
  const std::string name = std::string("attention: ") + NameOf(arg);
  if (arg == UNETD_ARG_MASK && view.dtype != UNETD_DTYPE_F32) {
    return Unsupported(name + " must be float32, got " + DTypeWord(view.dtype));
  }
  if (!Stored(view.dtype)) {
    return Unsupported(name + " must be float32, float16 or bfloat16, got " +
                       DTypeWord(view.dtype));
  }
  if (view.stride < view.channels) {
    return Unsupported(name + " has stride " + Text(view.stride) + ", below its " +
                       Text(view.channels) + " channels");
  }
  uint64_t elements = 0;
  if (__builtin_mul_overflow(view.tokens, view.stride, &elements) || elements > kMostBytes / 4) {
    return Unsupported(name + " is too large: " + Text(view.tokens) + " tokens of " +
                       Text(view.stride));
  }
  return Ok();
}

Answer CheckViews(const unetd_op_desc& desc) {
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const bool known = *NameOf(arg) != '\0';
    if (!IsThere(desc.args[arg])) {
      if (!known || arg == UNETD_ARG_MASK) continue;
      return Unsupported(std::string("attention: ") + NameOf(arg) + " is absent");
    }
    if (!known) {
      return Unsupported("attention: argument " + Text(arg) + " is not served by this operator");
    }
    if (Answer a = CheckView(desc, arg); !a.ok()) return a;
  }
  return Ok();
}

Answer CheckShapes(const unetd_op_desc& desc) {
  const unetd_attention& a = desc.u.attention;
  const uint64_t channels = uint64_t{a.heads} * a.head_dim;
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    if (desc.args[arg].channels != channels) {
      return WrongSize(arg, Text(channels) + " channels (heads * head_dim)",
                       desc.args[arg].channels);
    }
  }
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  if (desc.args[UNETD_ARG_VALUE].tokens != keys) {
    return WrongSize(UNETD_ARG_VALUE, Text(keys) + " tokens, as key has",
                     desc.args[UNETD_ARG_VALUE].tokens);
  }
  if (desc.args[UNETD_ARG_DST].tokens != queries) {
    return WrongSize(UNETD_ARG_DST, Text(queries) + " tokens, as src0 has",
                     desc.args[UNETD_ARG_DST].tokens);
  }
  const unetd_view& mask = desc.args[UNETD_ARG_MASK];
  if (!IsThere(mask)) return Ok();
  if (mask.channels != keys) {
    return WrongSize(UNETD_ARG_MASK, Text(keys) + " channels, one a key", mask.channels);
  }
  if (mask.tokens != 1 && mask.tokens != queries) {
    return WrongSize(UNETD_ARG_MASK, "1 token or one a query (" + Text(queries) + ")", mask.tokens);
  }
  return Ok();
}

Answer CheckNumbers(const unetd_op_desc& desc) {
  const unetd_attention& a = desc.u.attention;
  if (a.heads == 0) return Unsupported("attention: heads must be at least 1, got 0");
  if (a.head_dim == 0) return Unsupported("attention: head_dim must be at least 1, got 0");
  if (a.head_dim > kMostHeadDim) {
    return Unsupported("attention: head_dim must be at most 65536, got " + Text(a.head_dim));
  }
  if (a.upcast_scores > 1) {
    return Unsupported("attention: upcast_scores must be 0 or 1, got " + Text(a.upcast_scores));
  }
  if (a.bool_mask > 1) {
    return Unsupported("attention: bool_mask must be 0 or 1, got " + Text(a.bool_mask));
  }
  if (!std::isfinite(a.scale)) return Unsupported("attention: scale must be finite");
  if (std::memchr(a.op, 0, sizeof(a.op)) == nullptr) {
    return Unsupported("attention: attention_op is not terminated");
  }
  // Where products may be of bfloat16, float32 will do.
  if (desc.compute_dtype != UNETD_DTYPE_F32 && desc.compute_dtype != UNETD_DTYPE_BF16) {
    return Unsupported("attention: compute_dtype must be float32 or bfloat16, got " +
                       DTypeWord(desc.compute_dtype));
  }
  if (desc.sum_dtype != UNETD_DTYPE_F32) {
    return Unsupported("attention: sum_dtype must be float32, got " + DTypeWord(desc.sum_dtype));
  }
  // A task is a head and at least 8 queries.
  if (desc.args[UNETD_ARG_SRC0].tokens / 8 + 1 > UINT32_MAX / a.heads) {
    return Unsupported("attention: heads * tokens of src0 is beyond 2^32 tasks");
  }
  return Ok();
}

}  // namespace

std::string DTypeWord(int32_t dtype) {
  constexpr const char* kWords[] = {
      "no dtype",    "torch.float32", "torch.float16", "torch.bfloat16", "torch.float64",
      "torch.bool",  "torch.int8",    "torch.int16",   "torch.int32",    "torch.int64",
      "torch.uint8", "torch.uint16",  "torch.uint32",  "torch.uint64"};
  if (dtype >= 0 && dtype < static_cast<int32_t>(std::size(kWords))) return kWords[dtype];
  return "dtype number " + std::to_string(dtype);
}

Answer CheckProblem(const unetd_op_desc& desc) {
  if (desc.kind != UNETD_OP_ATTENTION) {
    return Unsupported("this backend serves attention only, not operator kind " + Text(desc.kind));
  }
  if (desc.reserved != 0) return Unsupported("attention: the reserved field is set");
  const uint32_t algorithm = desc.u.attention.algorithm;
  if (algorithm != UNETD_ATTENTION_MEMORY_EFFICIENT) {
    constexpr const char* kNames[] = {"number 0", "math", "sdpa", "sliced", "", "npu"};
    return Unsupported(
        std::string("attention: this backend serves the memory_efficient algorithm "
                    "only, not ") +
        (algorithm < std::size(kNames) ? kNames[algorithm] : "number " + Text(algorithm)));
  }
  if (Answer a = CheckNumbers(desc); !a.ok()) return a;
  if (Answer a = CheckViews(desc); !a.ok()) return a;
  return CheckShapes(desc);
}

}  // namespace unetd::memory_efficient
