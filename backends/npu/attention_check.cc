// What of the ABI's attention the operators serve, by their documentation.
#include <cmath>
#include <cstring>
#include <string>

#include "backends/npu/attention.h"

namespace unetd::npu {
namespace {

constexpr uint32_t kMostHeads = 256;
constexpr uint32_t kMostHeadDim = 768;
constexpr uint32_t kMostPromptHeadDim = 512;
constexpr uint64_t kMostTokens = uint64_t{1} << 20;
// A row's view stays below 2^53 bytes.
constexpr uint64_t kMostStride = UINT32_MAX;

bool Present(const unetd_view& view) { return view.tokens != 0; }

const char* Name(uint32_t arg) {
  switch (arg) {
    case UNETD_ARG_SRC0:
      return "src";
    case UNETD_ARG_KEY:
      return "key";
    case UNETD_ARG_VALUE:
      return "value";
    case UNETD_ARG_MASK:
      return "mask";
    case UNETD_ARG_DST:
      return "dst";
    default:
      return "argument";
  }
}

std::string DTypeName(int32_t dtype) {
  switch (dtype) {
    case UNETD_DTYPE_F32:
      return "float32";
    case UNETD_DTYPE_F16:
      return "float16";
    case UNETD_DTYPE_BF16:
      return "bfloat16";
    case UNETD_DTYPE_BOOL:
      return "bool";
    default:
      return "dtype " + std::to_string(dtype);
  }
}

Answer Wrong(uint32_t arg, const std::string& expected, uint64_t got) {
  return Unsupported(std::string(Name(arg)) + ": expected " + expected + ", got " +
                     std::to_string(got));
}

Answer CheckOptions(const unetd_op_desc& desc, bool prompt) {
  const unetd_attention& a = desc.u.attention;
  if (a.algorithm != UNETD_ATTENTION_NPU) {
    return Unsupported("only the npu algorithm is served, got number " +
                       std::to_string(a.algorithm));
  }
  if (std::memchr(a.op, 0, sizeof(a.op)) == nullptr || a.op[0] != '\0') {
    return Unsupported("the npu algorithm takes no attention_op");
  }
  if (a.upcast_scores > 1 || a.bool_mask > 1) {
    return Unsupported("upcast_scores and bool_mask must be 0 or 1");
  }
  if (!std::isfinite(a.scale)) return Unsupported("scale is not finite");
  if (a.heads < 1 || a.heads > kMostHeads) {
    return Unsupported("heads: expected 1 to " + std::to_string(kMostHeads) + ", got " +
                       std::to_string(a.heads));
  }
  const uint32_t most = prompt ? kMostPromptHeadDim : kMostHeadDim;
  if (a.head_dim < 1 || a.head_dim > most) {
    return Unsupported("head_dim: expected 1 to " + std::to_string(most) +
                       (prompt ? " (PromptFlashAttention)" : "") + ", got " +
                       std::to_string(a.head_dim));
  }
  return Ok();
}

Answer CheckDTypes(const unetd_op_desc& desc) {
  const int32_t dtype = desc.args[UNETD_ARG_SRC0].dtype;
  if (dtype == UNETD_DTYPE_F32) {
    return Unsupported(
        "float32 is not served (fp32 layers run SDPA on the host; set compute): expected float16 "
        "or bfloat16");
  }
  if (dtype != UNETD_DTYPE_F16 && dtype != UNETD_DTYPE_BF16) {
    return Unsupported("src: expected float16 or bfloat16, got " + DTypeName(dtype));
  }
  for (const uint32_t arg : {UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    if (desc.args[arg].dtype != dtype) {
      return Unsupported(std::string(Name(arg)) + ": expected " + DTypeName(dtype) +
                         ", as src is, got " + DTypeName(desc.args[arg].dtype));
    }
  }
  // Products and sums are CANN's: scores, softmax and sums in float32. Neither of its dtypes rounds
  // more than bfloat16.
  const int32_t compute = desc.compute_dtype;
  const int32_t sum = desc.sum_dtype;
  if (compute != UNETD_DTYPE_NONE && compute != UNETD_DTYPE_F32 && compute != UNETD_DTYPE_BF16 &&
      compute != dtype) {
    return Unsupported("compute dtype: expected float32, bfloat16 or src's, got " +
                       DTypeName(compute));
  }
  if (sum != UNETD_DTYPE_NONE && sum != UNETD_DTYPE_F32) {
    return Unsupported("sum dtype: expected float32, got " + DTypeName(sum));
  }
  return Ok();
}

Answer CheckViews(const unetd_op_desc& desc, bool prompt) {
  const unetd_attention& a = desc.u.attention;
  const uint64_t channels = uint64_t{a.heads} * a.head_dim;
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    const unetd_view& view = desc.args[arg];
    const uint64_t tokens = arg == UNETD_ARG_SRC0 || arg == UNETD_ARG_DST ? queries : keys;
    if (!Present(view)) return Unsupported(std::string(Name(arg)) + " is missing");
    if (view.tokens > kMostTokens) {
      return Wrong(arg, "at most " + std::to_string(kMostTokens) + " tokens", view.tokens);
    }
    if (view.tokens != tokens) {
      return Wrong(arg, std::to_string(tokens) + " tokens", view.tokens);
    }
    if (view.channels != channels) {
      return Wrong(arg, std::to_string(channels) + " channels (heads * head_dim)", view.channels);
    }
    if (view.stride < channels || view.stride > kMostStride) {
      return Wrong(arg, "a stride of " + std::to_string(channels) + " or more", view.stride);
    }
    if (prompt && view.tokens > 1 && view.stride != channels) {
      return Unsupported(
          std::string(Name(arg)) +
          ": PromptFlashAttention takes no strided views: " + "expected a stride of " +
          std::to_string(channels) + ", got " + std::to_string(view.stride));
    }
  }
  return Ok();
}

Answer CheckMask(const unetd_op_desc& desc, bool prompt) {
  const unetd_view& mask = desc.args[UNETD_ARG_MASK];
  if (!Present(mask)) return Ok();
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  if (desc.u.attention.bool_mask != 1) {
    return Unsupported("mask: only one that keeps or drops (bool_mask) is served, not an additive");
  }
  if (mask.dtype != UNETD_DTYPE_BOOL) {
    return Unsupported(
        "mask: expected bool (1 = masked out), made by the host where it enters "
        "this domain, got " +
        DTypeName(mask.dtype));
  }
  if (mask.channels != keys) {
    return Wrong(UNETD_ARG_MASK, std::to_string(keys) + " channels, one a key", mask.channels);
  }
  if (mask.tokens != 1 && mask.tokens != queries) {
    return Wrong(UNETD_ARG_MASK, "1 token or " + std::to_string(queries) + ", one a query",
                 mask.tokens);
  }
  if (mask.stride < keys || mask.stride > kMostStride) {
    return Wrong(UNETD_ARG_MASK, "a stride of " + std::to_string(keys) + " or more", mask.stride);
  }
  if (prompt && (mask.tokens != queries || (mask.tokens > 1 && mask.stride != keys))) {
    return Unsupported(
        "mask: PromptFlashAttention takes only a dense one with a row a query: "
        "expected [" +
        std::to_string(queries) + ", " + std::to_string(keys) + "], got " +
        std::to_string(mask.tokens) + " tokens with a stride of " + std::to_string(mask.stride));
  }
  return Ok();
}

}  // namespace

Answer CheckAttention(const unetd_op_desc& desc, bool prompt) {
  constexpr uint32_t kTaken = 1u << UNETD_ARG_SRC0 | 1u << UNETD_ARG_KEY | 1u << UNETD_ARG_VALUE |
                              1u << UNETD_ARG_MASK | 1u << UNETD_ARG_DST;
  if (desc.reserved != 0) return Unsupported("reserved field is set");
  if (Answer a = CheckOptions(desc, prompt); !a.ok()) return a;
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    if ((kTaken >> arg & 1) == 0 && Present(desc.args[arg])) {
      return Unsupported("attention takes no argument number " + std::to_string(arg));
    }
  }
  if (Answer a = CheckDTypes(desc); !a.ok()) return a;
  if (Answer a = CheckViews(desc, prompt); !a.ok()) return a;
  return CheckMask(desc, prompt);
}

}  // namespace unetd::npu
