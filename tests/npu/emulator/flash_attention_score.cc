// aclnnFlashAttentionScore, of libopapi.so or libopapi_transformer.so.
#include "tests/npu/emulator/attention_kernel.h"

namespace emulator = unetd::cann_emulator;
using emulator::AttentionCall;

namespace {

int Refuse(const std::string& text) {
  return emulator::Say(ACLNN_ERR_PARAM_INVALID, "FlashAttentionScore: " + text);
}

bool IsSoftmax(const aclTensor& tensor, const AttentionCall& call) {
  return tensor.type == ACL_FLOAT && emulator::IsDense(tensor) &&
         tensor.dims ==
             std::vector<int64_t>{call.query.batch, call.query.heads, call.query.tokens, 8};
}

}  // namespace

extern "C" {

aclnnStatus aclnnFlashAttentionScoreGetWorkspaceSize(
    const aclTensor* query, const aclTensor* key, const aclTensor* value,
    const aclTensor* real_shift, const aclTensor* drop_mask, const aclTensor*,
    const aclTensor* atten_mask, const aclIntArray* prefix, double scale_value, double keep_prob,
    int64_t pre_tokens, int64_t next_tokens, int64_t head_num, char* input_layout,
    int64_t inner_precise, int64_t sparse_mode, const aclTensor* softmax_max,
    const aclTensor* softmax_sum, const aclTensor*, const aclTensor* attention_out,
    uint64_t* workspace_size, aclOpExecutor** executor) {
  if (emulator::Fails("aclnnFlashAttentionScoreGetWorkspaceSize")) return emulator::kInjected;
  if (query == nullptr || key == nullptr || value == nullptr || input_layout == nullptr ||
      softmax_max == nullptr || softmax_sum == nullptr || attention_out == nullptr ||
      workspace_size == nullptr || executor == nullptr) {
    return emulator::Say(ACLNN_ERR_PARAM_NULLPTR, "FlashAttentionScore: a null pointer");
  }
  std::vector<const aclTensor*> tensors = {query,       key,         value,
                                           softmax_max, softmax_sum, attention_out};
  if (atten_mask != nullptr) tensors.push_back(atten_mask);
  for (const aclTensor* tensor : tensors) {
    if (!emulator::Lives(tensor)) return Refuse("a tensor is not, or no longer, there");
  }
  if (real_shift != nullptr || drop_mask != nullptr || prefix != nullptr) {
    return Refuse("pse, dropMask and prefix are not emulated");
  }
  const std::string layout = emulator::Upper(input_layout);
  AttentionCall call;
  for (const auto& [stream, tensor] :
       {std::pair(&call.query, query), std::pair(&call.key, key), std::pair(&call.value, value),
        std::pair(&call.out, attention_out)}) {
    if (std::string wrong = stream->Read(*tensor, layout); !wrong.empty()) return Refuse(wrong);
    if (tensor->type != query->type) return Refuse("the dtypes differ");
    if (stream->batch != call.query.batch || stream->heads != call.query.heads ||
        stream->head_dim != call.query.head_dim) {
      return Refuse("the shapes differ");
    }
  }
  if (call.query.heads != head_num) return Refuse("headNum is not query's");
  if (call.key.tokens != call.value.tokens || call.query.tokens != call.out.tokens) {
    return Refuse("the lengths differ");
  }
  if (call.query.head_dim > emulator::MostHeadDim()) {
    return Refuse("headDim " + std::to_string(call.query.head_dim) + " is over " +
                  std::to_string(emulator::MostHeadDim()));
  }
  if (keep_prob != 1 || sparse_mode != 0 || inner_precise < 0 || inner_precise > 2) {
    return Refuse("keepProb, sparseMode or innerPrecise is not emulated");
  }
  call.has_softmax = true;
  call.softmax_max = *softmax_max;
  call.softmax_sum = *softmax_sum;
  if (!IsSoftmax(*softmax_max, call) || !IsSoftmax(*softmax_sum, call)) {
    return Refuse("softmaxMax and softmaxSum must be FLOAT [B, N, Sq, 8]");
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
      {"aclnnFlashAttentionScore", *workspace_size, tensors,
       [call](uint8_t* workspace) { return emulator::RunAttention(call, workspace); }});
  emulator::LetOthersIn();
  return 0;
}

aclnnStatus aclnnFlashAttentionScore(void* workspace, uint64_t workspace_size,
                                     aclOpExecutor* executor, const aclrtStream stream) {
  constexpr char kName[] = "aclnnFlashAttentionScore";
  if (emulator::Fails(kName)) {
    emulator::MakeRepeatable(executor);
    emulator::RemoveExecutor(executor);
    return emulator::Say(emulator::kInjected, std::string("injected failure of ") + kName);
  }
  if (const int status = emulator::NeedContext(kName); status != 0) return status;
  return emulator::RunExecutor(kName, workspace, workspace_size, executor, stream);
}

}  // extern "C"
