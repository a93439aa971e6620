#include "backends/npu/attention.h"

#include <cstdint>
#include <tuple>

#include "backends/npu/tensor.h"

namespace unetd::npu {
namespace {

constexpr uint64_t kAlign = 512;     // what aclrtMalloc gives, and so what operators may expect
constexpr uint64_t kHostAlign = 64;  // what the ABI promises of exec->workspace
constexpr int64_t kEverywhere = INT32_MAX;  // pre and next tokens: the mask alone decides
constexpr int64_t kSoftmaxColumns = 8;      // each value of softmax max and sum is kept eight times

uint64_t RoundUp(uint64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

aclDataType DataType(int32_t dtype) { return dtype == UNETD_DTYPE_F16 ? ACL_FLOAT16 : ACL_BF16; }

}  // namespace

struct Attention::Tensors {
  explicit Tensors(const Device& device)
      : query(device),
        key(device),
        value(device),
        mask(device),
        dst(device),
        softmax_max(device),
        softmax_sum(device) {}
  Tensor query, key, value, mask, dst, softmax_max, softmax_sum;
};

Attention::Attention(const Device& device, const unetd_op_desc& desc)
    : device_(device),
      cann_(device.cann()),
      query_(desc.args[UNETD_ARG_SRC0]),
      key_(desc.args[UNETD_ARG_KEY]),
      value_(desc.args[UNETD_ARG_VALUE]),
      mask_(desc.args[UNETD_ARG_MASK]),
      dst_(desc.args[UNETD_ARG_DST]),
      heads_(desc.u.attention.heads),
      head_dim_(desc.u.attention.head_dim),
      scale_(desc.u.attention.scale),
      prompt_(!device.cann().has_flash_attention_score()) {}

Answer Attention::Prepare(const Device& device, const unetd_op_desc& desc,
                          std::unique_ptr<Attention>* attention) {
  const bool prompt = !device.cann().has_flash_attention_score();
  if (Answer a = CheckAttention(desc, prompt); !a.ok()) return a;
  if (Answer a = device.Enter(); !a.ok()) return a;
  std::unique_ptr<Attention> made(new Attention(device, desc));
  if (Answer a = made->Probe(); !a.ok()) return a;
  *attention = std::move(made);
  return Ok();
}

const char* Attention::FirstStageName() const {
  return prompt_ ? "aclnnPromptFlashAttentionV3GetWorkspaceSize"
                 : "aclnnFlashAttentionScoreGetWorkspaceSize";
}

const char* Attention::SecondStageName() const {
  return prompt_ ? "aclnnPromptFlashAttentionV3" : "aclnnFlashAttentionScore";
}

std::string Attention::Description() const {
  return std::string(SecondStageName()) + ", " + (prompt_ ? "BSND" : "BNSD") +
         (mask_.tokens == 0 ? "" : ", atten_mask");
}

uint64_t Attention::SoftmaxBytes() const {
  return prompt_ ? 0
                 : RoundUp(query_.tokens * static_cast<uint64_t>(heads_ * kSoftmaxColumns) *
                           sizeof(float));
}

// The first stage reads no data, so every tensor may have the probe's address.
Answer Attention::Probe() {
  void* at = device_.probe();
  Tensors tensors(device_);
  if (Answer a = MakeTensors({at, at, at, at, at, at, at}, &tensors); !a.ok()) return a;
  aclOpExecutor* executor = nullptr;
  const aclnnStatus status = FirstStage(tensors, &operator_workspace_, &executor);
  if (status == ACLNN_ERR_PARAM_INVALID || status == ACLNN_ERR_PARAM_NULLPTR) {
    return Unsupported("CANN refuses: " + cann_.Words(FirstStageName(), status));
  }
  if (status != 0) return Failed(cann_.Words(FirstStageName(), status));
  Discard(executor);
  uint64_t bytes = 0;
  if (__builtin_add_overflow(operator_workspace_, 2 * SoftmaxBytes() + kAlign - kHostAlign,
                             &bytes)) {
    return Unsupported("CANN asks for a workspace of " + std::to_string(operator_workspace_) +
                       " bytes");
  }
  workspace_bytes_ = bytes;
  return Ok();
}

// An executor that is not run would stay: CANN lets one destroy only a repeatable one.
void Attention::Discard(aclOpExecutor* executor) const {
  if (executor == nullptr || cann_.aclSetAclOpExecutorRepeatable == nullptr ||
      cann_.aclDestroyAclOpExecutor == nullptr) {
    return;
  }
  device_.Warn("aclSetAclOpExecutorRepeatable", cann_.aclSetAclOpExecutorRepeatable(executor));
  device_.Warn("aclDestroyAclOpExecutor", cann_.aclDestroyAclOpExecutor(executor));
}

// A row's value is tokens x (heads * head_dim). FlashAttentionScore sees it as BNSD with strides
// (as diffusers does); PromptFlashAttention takes no strides, so it gets what lies there: BSND.
Answer Attention::MakeTensors(const Addresses& at, Tensors* tensors) const {
  const aclDataType type = DataType(query_.dtype);
  const auto stream = [&](Tensor& tensor, const char* name, const unetd_view& view, void* data) {
    const auto tokens = static_cast<int64_t>(view.tokens);
    const auto stride = static_cast<int64_t>(view.stride);
    if (prompt_) {
      const int64_t channels = heads_ * head_dim_;
      return tensor.Create(name, type, {1, tokens, heads_, head_dim_},
                           {tokens * channels, channels, head_dim_, 1}, data);
    }
    return tensor.Create(name, type, {1, heads_, tokens, head_dim_},
                         {tokens * stride, head_dim_, stride, 1}, data);
  };
  if (Answer a = stream(tensors->query, "query", query_, at.query); !a.ok()) return a;
  if (Answer a = stream(tensors->key, "key", key_, at.key); !a.ok()) return a;
  if (Answer a = stream(tensors->value, "value", value_, at.value); !a.ok()) return a;
  if (Answer a = stream(tensors->dst, "attentionOut", dst_, at.dst); !a.ok()) return a;
  const auto queries = static_cast<int64_t>(query_.tokens);
  if (mask_.tokens != 0) {
    const auto keys = static_cast<int64_t>(key_.tokens);
    // One row for all queries is a view that stays where it is.
    const int64_t stride = queries == 1        ? keys
                           : mask_.tokens == 1 ? 0
                                               : static_cast<int64_t>(mask_.stride);
    Answer a = tensors->mask.Create("attenMask", ACL_BOOL, {queries, keys}, {stride, 1}, at.mask);
    if (!a.ok()) return a;
  }
  if (prompt_) return Ok();
  const int64_t row = queries * kSoftmaxColumns;
  for (const auto& [tensor, name, data] :
       {std::tuple(&tensors->softmax_max, "softmaxMax", at.softmax_max),
        std::tuple(&tensors->softmax_sum, "softmaxSum", at.softmax_sum)}) {
    Answer a = tensor->Create(name, ACL_FLOAT, {1, heads_, queries, kSoftmaxColumns},
                              {heads_ * row, row, kSoftmaxColumns, 1}, data);
    if (!a.ok()) return a;
  }
  return Ok();
}

aclnnStatus Attention::FirstStage(const Tensors& t, uint64_t* workspace_bytes,
                                  aclOpExecutor** executor) const {
  constexpr int64_t kSparseMode = 0;
  constexpr int64_t kInnerPrecise = 0;
  if (prompt_) {
    char layout[] = "BSND";
    return cann_.aclnnPromptFlashAttentionV3GetWorkspaceSize(
        t.query.get(), t.key.get(), t.value.get(), nullptr, t.mask.get(), nullptr, nullptr, nullptr,
        nullptr, nullptr, nullptr, nullptr, heads_, scale_, kEverywhere, kEverywhere, layout,
        heads_, kSparseMode, kInnerPrecise, t.dst.get(), workspace_bytes, executor);
  }
  constexpr double kKeepProb = 1;
  char layout[] = "BNSD";
  return cann_.aclnnFlashAttentionScoreGetWorkspaceSize(
      t.query.get(), t.key.get(), t.value.get(), nullptr, nullptr, nullptr, t.mask.get(), nullptr,
      scale_, kKeepProb, kEverywhere, kEverywhere, heads_, layout, kInnerPrecise, kSparseMode,
      t.softmax_max.get(), t.softmax_sum.get(), nullptr, t.dst.get(), workspace_bytes, executor);
}

Answer Attention::RunRow(const Addresses& at, void* workspace, aclrtStream stream) const {
  Tensors tensors(device_);
  if (Answer a = MakeTensors(at, &tensors); !a.ok()) return a;
  uint64_t bytes = 0;
  aclOpExecutor* executor = nullptr;
  aclnnStatus status = FirstStage(tensors, &bytes, &executor);
  if (status != 0) return Failed(cann_.Words(FirstStageName(), status));
  if (bytes > operator_workspace_) {
    Discard(executor);
    return Failed(std::string(FirstStageName()) + " now asks for " + std::to_string(bytes) +
                  " bytes of workspace, and for " + std::to_string(operator_workspace_) +
                  " when it was prepared");
  }
  // Takes the executor, whatever it answers. The tensors are only descriptors: they may go after
  // it.
  status = prompt_ ? cann_.aclnnPromptFlashAttentionV3(workspace, bytes, executor, stream)
                   : cann_.aclnnFlashAttentionScore(workspace, bytes, executor, stream);
  return status == 0 ? Ok() : Failed(cann_.Words(SecondStageName(), status));
}

Answer Attention::Run(const unetd_exec& exec, const unetd_args& args) const {
  if (Answer a = device_.Enter(); !a.ok()) return a;
  const aclrtStream stream = exec.stream != nullptr ? exec.stream : device_.stream();
  // Rows follow each other on one stream, so they share the workspace.
  const auto start = reinterpret_cast<uintptr_t>(exec.workspace);
  auto* workspace = exec.workspace + (RoundUp(start) - start);
  for (uint32_t row = 0; row < exec.rows; ++row) {
    if (exec.cancel != nullptr && *exec.cancel != 0) return {UNETD_CANCELLED, "cancelled"};
    const auto address = [&](uint32_t arg) -> void* {
      const unetd_operand& operand = args.args[arg];
      return exec.spaces[operand.space][row] + operand.offset;
    };
    const Addresses at = {
        address(UNETD_ARG_SRC0),   address(UNETD_ARG_KEY),
        address(UNETD_ARG_VALUE),  mask_.tokens == 0 ? nullptr : address(UNETD_ARG_MASK),
        address(UNETD_ARG_DST),    workspace,
        workspace + SoftmaxBytes()};
    if (Answer a = RunRow(at, workspace + 2 * SoftmaxBytes(), stream); !a.ok()) {
      a.text = "row " + std::to_string(row) + ": " + a.text;
      return a;
    }
  }
  return Ok();
}

}  // namespace unetd::npu
