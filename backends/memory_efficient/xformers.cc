#include "backends/memory_efficient/xformers.h"

#include <array>
#include <initializer_list>
#include <string_view>

#include "backends/memory_efficient/problem.h"

namespace unetd::memory_efficient {
namespace {

// What an operator demands, as far as a refusal has to say.
enum class Demand {
  kNothing,
  kSmallHeads,  // float32 and head_dim <= 32
  kCuda,        // a CUDA device, 16-bit, no tensor as mask
  kNotBuilt     // another vendor's or generation's GPU
};

struct Operator {
  const char* name;  // xFormers' own
  Way way;
  Demand demand;
  uint32_t most_head_dim;
  std::array<const char*, 5> accepted;
};

// In the order in which xFormers tries those that it tries by itself: fa3F, fa2F, cutlassF,
// triton_splitKF.
constexpr Operator kOperators[] = {
    {"fa3F", Way::kTiled, Demand::kCuda, 256, {"flash3", "fa3", "fa3F"}},
    {"fa2F",
     Way::kTiled,
     Demand::kCuda,
     256,
     {"flash", "fa2", "fa2F", "MemoryEfficientAttentionFlashAttentionOp"}},
    {"cutlassF",
     Way::kTiled,
     Demand::kNothing,
     65536,
     {"cutlass", "cutlassF", "cutlassF-pt", "MemoryEfficientAttentionCutlassOp",
      "MemoryEfficientAttentionCutlassFwdFlashBwOp"}},
    {"triton_splitKF",
     Way::kSplitKv,
     Demand::kNothing,
     65536,
     {"triton_splitk", "splitk", "triton_splitKF", "MemoryEfficientAttentionTritonSplitKFwOp"}},
    {"small_k", Way::kTiled, Demand::kSmallHeads, 32, {"small_k"}},
    {"ckF", Way::kTiled, Demand::kNotBuilt, 512, {"ck", "ckF", "MemoryEfficientAttentionCkOp"}},
    {"ck_splitKF",
     Way::kSplitKv,
     Demand::kNotBuilt,
     256,
     {"ck_splitk", "ck_splitKF", "MemoryEfficientAttentionSplitKCkOp"}},
    {"cutlassF-blackwell",
     Way::kTiled,
     Demand::kNotBuilt,
     128,
     {"blackwell", "cutlass_blackwell", "cutlassF-blackwell",
      "MemoryEfficientAttentionCutlassBlackwellOp"}},
};
constexpr const Operator& kCutlass = kOperators[2];
constexpr const Operator& kSplitKv = kOperators[3];

bool SameName(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// "fa2F@2.5.7-pt" is fa2F of some version.
const Operator* FindOperator(std::string_view name) {
  name = name.substr(0, name.find('@'));
  for (const Operator& op : kOperators) {
    for (const char* accepted : op.accepted) {
      if (accepted != nullptr && SameName(name, accepted)) return &op;
    }
  }
  return nullptr;
}

std::string Shape(const unetd_op_desc& desc, uint32_t arg) {
  return "shape=(1, " + std::to_string(desc.args[arg].tokens) + ", " +
         std::to_string(desc.u.attention.heads) + ", " + std::to_string(desc.u.attention.head_dim) +
         ") (" + DTypeWord(desc.args[arg].dtype) + ")";
}

// Empty: it serves this descriptor.
std::string Reasons(const Operator& op, const unetd_op_desc& desc) {
  std::string reasons;
  const auto add = [&reasons](const std::string& reason) {
    reasons += (reasons.empty() ? "" : "; ") + reason;
  };
  if (op.demand == Demand::kCuda || op.demand == Demand::kNotBuilt) {
    add("device=cpu (supported: {'cuda'})");
  }
  if (op.demand == Demand::kNotBuilt) add("operator wasn't built");
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    const int32_t dtype = desc.args[arg].dtype;
    const bool wide = dtype == UNETD_DTYPE_F32;
    if (op.demand == Demand::kNothing || wide == (op.demand == Demand::kSmallHeads)) continue;
    add("dtype=" + DTypeWord(dtype) +
        (wide ? " (supported: {torch.bfloat16, torch.float16})" : " (supported: {torch.float32})"));
    break;
  }
  if (desc.u.attention.head_dim > op.most_head_dim) {
    add("max(query.shape[-1], value.shape[-1]) > " + std::to_string(op.most_head_dim));
  }
  if (op.demand == Demand::kCuda && IsThere(desc.args[UNETD_ARG_MASK])) {
    add("attn_bias type is <class 'torch.Tensor'>");
  }
  return reasons;
}

Answer RefuseOperator(const Operator& op, const unetd_op_desc& desc, const std::string& reasons) {
  return Unsupported("Operator `memory_efficient_attention` does not support inputs: query : " +
                     Shape(desc, UNETD_ARG_SRC0) + ", key : " + Shape(desc, UNETD_ARG_KEY) +
                     ", value : " + Shape(desc, UNETD_ARG_VALUE) +
                     (IsThere(desc.args[UNETD_ARG_MASK]) ? ", attn_bias : <class 'torch.Tensor'>"
                                                         : ", attn_bias : <class 'NoneType'>") +
                     ". `" + op.name + "` is not supported because: " + reasons);
}

Answer RefuseUnknown(std::string_view name) {
  std::string text = "attention_op \"";
  for (const char c : name) text += c >= ' ' && c <= '~' && c != '"' && c != '\\' ? c : '?';
  text += "\" is unknown, expected null, auto";
  for (const Operator& op : kOperators) {
    if (op.demand != Demand::kNothing && op.demand != Demand::kSmallHeads) continue;
    for (const char* accepted : op.accepted) {
      if (accepted != nullptr) text += std::string(", ") + accepted;
    }
  }
  return Unsupported(text + " (in upper or lower case)");
}

// As xFormers puts triton_splitK first where queries are too few to keep a machine busy and keys
// are worth dividing (there: B * H < 64; a descriptor speaks of one row, and 32 heads are work
// enough).
bool SplitsFirst(const unetd_op_desc& desc) {
  return desc.args[UNETD_ARG_SRC0].tokens <= 32 && desc.args[UNETD_ARG_KEY].tokens >= 256 &&
         desc.u.attention.heads < 32;
}

}  // namespace

Answer ChooseOperator(const unetd_op_desc& desc, Choice* choice) {
  const std::string_view name = desc.u.attention.op;
  if (!name.empty() && !SameName(name, "auto")) {
    const Operator* op = FindOperator(name);
    if (op == nullptr) return RefuseUnknown(name);
    const std::string reasons = Reasons(*op, desc);
    if (!reasons.empty()) return RefuseOperator(*op, desc, reasons);
    *choice = {op->way, op->name, "as attention_op says"};
    return Ok();
  }
  if (SplitsFirst(desc)) {
    *choice = {kSplitKv.way, kSplitKv.name, "first for Mq <= 32, Mkv >= 256, H < 32"};
    return Ok();
  }
  std::string skipped;
  for (const Operator* op = kOperators; op != &kCutlass; ++op) {
    // One reason is enough here.
    const std::string reasons = Reasons(*op, desc);
    skipped += (skipped.empty() ? "skipped " : "; ") + std::string(op->name) + ": " +
               reasons.substr(0, reasons.find(" ("));
  }
  *choice = {kCutlass.way, kCutlass.name, skipped};
  return Ok();
}

}  // namespace unetd::memory_efficient
