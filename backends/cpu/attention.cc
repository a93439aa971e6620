#include "backends/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/attention_math.h"
#include "backends/cpu/attention_sdpa.h"
#include "backends/cpu/ops.h"

namespace unetd::cpu {
namespace {

// 2^46: what CheckArgs allows an argument; the workspaces keep to it too.
constexpr uint64_t kMostBytes = uint64_t{1} << 46;

Answer CheckAlgorithm(const unetd_attention& a) {
  switch (a.algorithm) {
    case UNETD_ATTENTION_MATH:
    case UNETD_ATTENTION_SDPA:
      return Ok();
    case UNETD_ATTENTION_SLICED:
      if (a.slice_size == 0) {
        return Unsupported("attention: slice_size must be at least 1 head, got 0");
      }
      if (a.slice_size > a.heads) {
        return Unsupported("attention: slice_size must be at most the " + std::to_string(a.heads) +
                           " heads of the layer, got " + std::to_string(a.slice_size));
      }
      return Ok();
    case UNETD_ATTENTION_MEMORY_EFFICIENT:
      return Unsupported(
          "attention: the cpu backend has no memory_efficient attention: another backend serves "
          "it");
    case UNETD_ATTENTION_NPU:
      return Unsupported(
          "attention: the cpu backend has no npu attention: another backend serves it");
    default:
      return Unsupported("attention: algorithm must be math, sdpa or sliced, got number " +
                         std::to_string(a.algorithm));
  }
}

Answer Mismatch(uint32_t arg, const char* what, uint64_t expected, uint64_t got) {
  return Unsupported("attention: " + std::string(ArgName(arg)) + " must have " +
                     std::to_string(expected) + " " + what + ", got " + std::to_string(got));
}

Answer CheckShapes(const unetd_op_desc& desc) {
  const unetd_attention& a = desc.u.attention;
  if (a.heads == 0) return Unsupported("attention: heads must be at least 1, got 0");
  if (a.head_dim == 0) return Unsupported("attention: head_dim must be at least 1, got 0");
  const uint64_t channels = uint64_t{a.heads} * a.head_dim;
  const unetd_view& query = desc.args[UNETD_ARG_SRC0];
  const unetd_view& key = desc.args[UNETD_ARG_KEY];
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    if (Answer answer = CheckStorage(desc, arg); !answer.ok()) return answer;
    const unetd_view& view = desc.args[arg];
    if (view.channels != channels) {
      return Mismatch(arg, "channels (heads * head_dim)", channels, view.channels);
    }
  }
  const unetd_view& value = desc.args[UNETD_ARG_VALUE];
  if (value.tokens != key.tokens) {
    return Mismatch(UNETD_ARG_VALUE, "tokens, as key has", key.tokens, value.tokens);
  }
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  if (dst.tokens != query.tokens) {
    return Mismatch(UNETD_ARG_DST, "tokens, as src0 has", query.tokens, dst.tokens);
  }
  const unetd_view& mask = desc.args[UNETD_ARG_MASK];
  if (!Present(mask)) return Ok();
  if (mask.dtype != UNETD_DTYPE_F32) {
    return Unsupported("attention: mask must be float32, got " + DTypeName(mask.dtype));
  }
  if (mask.channels != key.tokens) {
    return Mismatch(UNETD_ARG_MASK, "channels, one a key,", key.tokens, mask.channels);
  }
  if (mask.tokens != 1 && mask.tokens != query.tokens) {
    return Unsupported("attention: mask must have 1 token or one a query (" +
                       std::to_string(query.tokens) + "), got " + std::to_string(mask.tokens));
  }
  return Ok();
}

Answer Supports(const unetd_op_desc& desc, const Isa& isa) {
  const unetd_attention& a = desc.u.attention;
  if (Answer answer = CheckAlgorithm(a); !answer.ok()) return answer;
  const uint32_t required =
      Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_KEY) | Bit(UNETD_ARG_VALUE) | Bit(UNETD_ARG_DST);
  if (Answer answer = CheckArgs(desc, required | Bit(UNETD_ARG_MASK), required); !answer.ok()) {
    return answer;
  }
  if (Answer answer = CheckDTypes(desc, false); !answer.ok()) return answer;
  if (Answer answer = CheckShapes(desc); !answer.ok()) return answer;
  if (a.upcast_scores > 1) {
    return Unsupported("attention: upcast_scores must be 0 or 1, got " +
                       std::to_string(a.upcast_scores));
  }
  if (a.bool_mask > 1) {
    return Unsupported("attention: bool_mask must be 0 or 1, got " + std::to_string(a.bool_mask));
  }
  if (std::memchr(a.op, 0, sizeof(a.op)) == nullptr) {
    return Unsupported("attention: op is not terminated");
  }
  if (!std::isfinite(a.scale)) return Unsupported("attention: scale must be finite");
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  if (a.algorithm != UNETD_ATTENTION_SDPA) {
    uint64_t floats = 0;
    if (__builtin_mul_overflow(queries, keys, &floats) ||
        __builtin_mul_overflow(floats, uint64_t{a.heads}, &floats) || floats > kMostBytes / 4) {
      return Unsupported("attention: the score matrix of " + std::to_string(a.heads) + " heads, " +
                         std::to_string(queries) + " queries and " + std::to_string(keys) +
                         " keys is beyond 2^46 bytes");
    }
  }
  const uint32_t panel = isa.Pick(&avx2::kAttentionKernels, &avx512::kAttentionKernels)->panel;
  if (queries / panel + 1 > UINT32_MAX / a.heads) {
    return Unsupported("attention: heads * tokens of src0 is beyond 2^32 tasks");
  }
  return Ok();
}

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  return desc.u.attention.algorithm == UNETD_ATTENTION_SDPA ? MakeSdpa(desc, isa, kernel)
                                                            : MakeMath(desc, isa, kernel);
}

uint32_t MaskKind(const unetd_view& mask) { return !Present(mask) ? 0 : mask.tokens == 1 ? 1 : 2; }

}  // namespace

const OpEntry kAttentionOp = {UNETD_OP_ATTENTION, "attention", Supports, nullptr, nullptr, Make};

AttentionShape ShapeOf(const unetd_op_desc& desc, uint32_t panel, bool pairs) {
  const unetd_attention& a = desc.u.attention;
  const unetd_view& query = desc.args[UNETD_ARG_SRC0];
  const unetd_view& key = desc.args[UNETD_ARG_KEY];
  const unetd_view& value = desc.args[UNETD_ARG_VALUE];
  const unetd_view& dst = desc.args[UNETD_ARG_DST];
  AttentionShape shape = {};
  shape.queries = query.tokens;
  shape.keys = key.tokens;
  shape.head_dim = a.head_dim;
  shape.mask = MaskKind(desc.args[UNETD_ARG_MASK]);
  shape.query_dtype = query.dtype;
  shape.key_dtype = key.dtype;
  shape.value_dtype = value.dtype;
  shape.dst_dtype = dst.dtype;
  shape.query_stride = query.stride;
  shape.key_stride = key.stride;
  shape.value_stride = value.stride;
  shape.dst_stride = dst.stride;
  shape.mask_stride = desc.args[UNETD_ARG_MASK].stride;
  shape.scale = a.scale;

  // Eight panels to a block; fewer where there would be too few tasks for some threads, or where a
  // block's queries and sums would not stay in L2.
  constexpr uint64_t kFewTasks = 16, kBlockFloats = 64 * 1024;
  uint64_t block = uint64_t{panel} * 8;
  while (block > panel && (a.heads * ((shape.queries + block - 1) / block) < kFewTasks ||
                           block * a.head_dim > kBlockFloats)) {
    block /= 2;
  }
  shape.query_block = block;

  // Blocks of about 64 keys, or pairs of them, and as equal as can be: 77 keys are one block, 4096
  // are 64 or 32.
  const uint64_t most = pairs ? 128 : 64;
  const uint64_t blocks = std::max<uint64_t>(1, (shape.keys + most / 2) / most);
  shape.key_block = (shape.keys + blocks - 1) / blocks;
  // Rows far apart cost more than a copy only where they are short.
  const bool pack = a.head_dim <= 64;
  if (pairs) {
    // A pair's two halves lie together already, but an odd row's last would reach into what
    // follows.
    shape.pack_keys = pack || a.head_dim % 2 != 0 || key.stride % 2 != 0;
    shape.pack_values = true;
  } else {
    shape.pack_keys = pack || key.dtype != UNETD_DTYPE_F32;
    shape.pack_values = pack || value.dtype != UNETD_DTYPE_F32;
  }

  uint64_t at = 0;
  const auto room = [&at](uint64_t floats) {
    const uint64_t here = at;
    at += RoundUp(floats, 16);
    return here;
  };
  shape.queries_at = room(block * a.head_dim);
  shape.out_at = room(block * a.head_dim);
  shape.scores_at = room(shape.key_block * panel);
  shape.mask_at = room(shape.mask == 2 ? shape.key_block * panel : 0);
  shape.max_at = room(block);
  shape.sum_at = room(block);
  shape.keys_at = room(shape.pack_keys ? shape.key_block * RoundUp(a.head_dim, 16) : 0);
  shape.values_at = room(shape.pack_values ? shape.key_block * RoundUp(a.head_dim, 16) : 0);
  shape.floats = at;
  return shape;
}

AttentionHead HeadOf(const unetd_op_desc& desc, const unetd_exec& exec, const unetd_args& args,
                     uint32_t row, uint32_t head) {
  const uint64_t channel = uint64_t{head} * desc.u.attention.head_dim;
  const auto at = [&](uint32_t arg) {
    return RowAddress(exec, args.args[arg], row) + channel * DTypeBytes(desc.args[arg].dtype);
  };
  AttentionHead view = {};
  view.query = at(UNETD_ARG_SRC0);
  view.key = at(UNETD_ARG_KEY);
  view.value = at(UNETD_ARG_VALUE);
  view.dst = at(UNETD_ARG_DST);
  if (Present(desc.args[UNETD_ARG_MASK])) {
    view.mask = reinterpret_cast<const float*>(RowAddress(exec, args.args[UNETD_ARG_MASK], row));
  }
  return view;
}

}  // namespace unetd::cpu
