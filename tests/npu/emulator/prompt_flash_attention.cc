// aclnnPromptFlashAttentionV3: no strided views, head_dim at most 512, no FLOAT.
#include "tests/npu/emulator/attention_kernel.h"

namespace emulator = unetd::cann_emulator;
using emulator::AttentionCall;

namespace {

int Refuse(const std::string& text) {
  return emulator::Say(ACLNN_ERR_PARAM_INVALID, "PromptFlashAttention: " + text);
}

}  // namespace

extern "C" {

aclnnStatus aclnnPromptFlashAttentionV3GetWorkspaceSize(
    const aclTensor* query, const aclTensor* key, const aclTensor* value,
    const aclTensor* pse_shift, const aclTensor* atten_mask, const aclIntArray* actual_seq_lengths,
    const aclIntArray* actual_seq_lengths_kv, const aclTensor* deq_scale1,
    const aclTensor* quant_scale1, const aclTensor* deq_scale2, const aclTensor* quant_scale2,
    const aclTensor* quant_offset2, int64_t num_heads, double scale_value, int64_t pre_tokens,
    int64_t next_tokens, char* input_layout, int64_t num_key_value_heads, int64_t sparse_mode,
    int64_t inner_precise, const aclTensor* attention_out, uint64_t* workspace_size,
    aclOpExecutor** executor) {
  if (emulator::Fails("aclnnPromptFlashAttentionV3GetWorkspaceSize")) return emulator::kInjected;
  if (query == nullptr || key == nullptr || value == nullptr || input_layout == nullptr ||
      attention_out == nullptr || workspace_size == nullptr || executor == nullptr) {
    return emulator::Say(ACLNN_ERR_PARAM_NULLPTR, "PromptFlashAttention: a null pointer");
  }
  if (pse_shift != nullptr || actual_seq_lengths != nullptr || actual_seq_lengths_kv != nullptr ||
      deq_scale1 != nullptr || quant_scale1 != nullptr || deq_scale2 != nullptr ||
      quant_scale2 != nullptr || quant_offset2 != nullptr) {
    return Refuse("only query, key, value and attenMask are emulated");
  }
  std::vector<const aclTensor*> tensors = {query, key, value, attention_out};
  if (atten_mask != nullptr) tensors.push_back(atten_mask);
  for (const aclTensor* tensor : tensors) {
    if (!emulator::Lives(tensor)) return Refuse("a tensor is not, or no longer, there");
    if (!emulator::IsDense(*tensor)) return Refuse("a tensor is not contiguous");
  }
  const std::string layout = emulator::Upper(input_layout);
  AttentionCall call;
  for (const auto& [stream, tensor] :
       {std::pair(&call.query, query), std::pair(&call.key, key), std::pair(&call.value, value),
        std::pair(&call.out, attention_out)}) {
    if (std::string wrong = stream->Read(*tensor, layout); !wrong.empty()) return Refuse(wrong);
    if (tensor->type != query->type || tensor->type == ACL_FLOAT) return Refuse("wrong dtype");
    if (stream->batch != call.query.batch || stream->heads != call.query.heads ||
        stream->head_dim != call.query.head_dim) {
      return Refuse("the shapes differ");
    }
  }
  if (call.query.heads != num_heads ||
      (num_key_value_heads != 0 && num_key_value_heads != num_heads)) {
    return Refuse("numHeads is not query's");
  }
  if (call.key.tokens != call.value.tokens || call.query.tokens != call.out.tokens) {
    return Refuse("the lengths differ");
  }
  if (call.query.head_dim > 512) return Refuse("headDim is over 512");
  if (sparse_mode != 0 || inner_precise < 0 || inner_precise > 3) {
    return Refuse("sparseMode or innerPrecise is not emulated");
  }
  if (atten_mask != nullptr) {
    if (!emulator::IsMask(*atten_mask, call.query.tokens, call.key.tokens)) {
      return Refuse("attenMask must be BOOL or UINT8 [Sq, Skv]");
    }
    call.has_mask = true;
    call.mask = *atten_mask;
  }
  call.scale = scale_value;
  call.pre_tokens = pre_tokens;
  call.next_tokens = next_tokens;
  *workspace_size = call.WorkspaceBytes();
  *executor = emulator::AddExecutor(
      {"aclnnPromptFlashAttentionV3", *workspace_size, tensors,
       [call](uint8_t* workspace) { return emulator::RunAttention(call, workspace); }});
  emulator::LetOthersIn();
  return 0;
}

aclnnStatus aclnnPromptFlashAttentionV3(void* workspace, uint64_t workspace_size,
                                        aclOpExecutor* executor, const aclrtStream stream) {
  constexpr char kName[] = "aclnnPromptFlashAttentionV3";
  if (emulator::Fails(kName)) {
    emulator::MakeRepeatable(executor);
    emulator::RemoveExecutor(executor);
    return emulator::Say(emulator::kInjected, std::string("injected failure of ") + kName);
  }
  if (const int status = emulator::NeedContext(kName); status != 0) return status;
  return emulator::RunExecutor(kName, workspace, workspace_size, executor, stream);
}

}  // extern "C"
