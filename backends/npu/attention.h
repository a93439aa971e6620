// The npu attention algorithm by CANN's fused operators: aclnnFlashAttentionScore, or
// aclnnPromptFlashAttentionV3 where CANN has only that.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/npu/answer.h"
#include "backends/npu/device.h"

namespace unetd::npu {

// A prepared descriptor. Immutable: Run may be called by several threads at once.
class Attention {
 public:
  // Checks `desc` against what this plugin and the operators' documentation allow, then lets CANN
  // check it too (the first stage). UNSUPPORTED with a reason, CANN's own where it refuses.
  // `device` must outlive the result.
  static Answer Prepare(const Device& device, const unetd_op_desc& desc,
                        std::unique_ptr<Attention>* attention);

  // One call a row, enqueued on exec.stream or the device's own; returns before they are done.
  Answer Run(const unetd_exec& exec, const unetd_args& args) const;

  uint64_t workspace_bytes() const { return workspace_bytes_; }
  std::string Description() const;

 private:
  // Where one row's arguments lie; `mask` may be null.
  struct Addresses {
    void* query;
    void* key;
    void* value;
    void* mask;
    void* dst;
    void* softmax_max;
    void* softmax_sum;
  };
  struct Tensors;

  Attention(const Device& device, const unetd_op_desc& desc);
  uint64_t SoftmaxBytes() const;  // of each of the two softmax outputs
  Answer Probe();
  Answer MakeTensors(const Addresses& at, Tensors* tensors) const;
  aclnnStatus FirstStage(const Tensors& tensors, uint64_t* workspace_bytes,
                         aclOpExecutor** executor) const;
  Answer RunRow(const Addresses& at, void* workspace, aclrtStream stream) const;
  void Discard(aclOpExecutor* executor) const;
  const char* FirstStageName() const;
  const char* SecondStageName() const;

  const Device& device_;
  const Cann& cann_;
  const unetd_view query_, key_, value_, mask_, dst_;
  const int64_t heads_, head_dim_;
  const double scale_;
  const bool prompt_;                // by PromptFlashAttention
  uint64_t operator_workspace_ = 0;  // what the first stage asked for
  uint64_t workspace_bytes_ = 0;
};

// What needs no CANN of the checks above; `prompt`: by PromptFlashAttention.
Answer CheckAttention(const unetd_op_desc& desc, bool prompt);

}  // namespace unetd::npu
