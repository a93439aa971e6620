// The attention that both operators compute: float32 inside, rounded to the tensors' dtype.
#pragma once

#include <array>
#include <string>

#include "tests/npu/emulator/core.h"

namespace unetd::cann_emulator {

// A tensor [B, N, S, D], or without its batch axis as it stands; whatever its layout was.
struct Stream4 {
  aclTensor tensor;  // a copy: the caller's may go after the second stage
  int64_t batch = 0, heads = 0, tokens = 0, head_dim = 0;
  std::array<int64_t, 4> strides{};  // of batch, heads, tokens, head_dim

  // From a tensor in `layout`, BNSD or BSND; "" or what is wrong with it.
  std::string Read(const aclTensor& source, const std::string& layout);
};

struct AttentionCall {
  Stream4 query, key, value, out;
  bool has_mask = false;
  aclTensor mask{};  // [Sq, Skv], or the same with leading axes of 1
  bool has_softmax = false;
  aclTensor softmax_max{}, softmax_sum{};
  double scale = 1;
  int64_t pre_tokens = 0, next_tokens = 0;

  // Bytes of scratch that RunAttention needs.
  uint64_t WorkspaceBytes() const;
};

// Whether `mask` is one byte an element and [Sq, Skv] but for leading axes of 1.
bool IsMask(const aclTensor& mask, int64_t queries, int64_t keys);
bool IsDense(const aclTensor& tensor);
// "Bnsd" -> "BNSD".
std::string Upper(const char* layout);

// On the stream's thread: finds every address, poisons the outputs, computes. 0, or kKernelFault if
// an address is not the device's.
int RunAttention(const AttentionCall& call, uint8_t* workspace);

}  // namespace unetd::cann_emulator
