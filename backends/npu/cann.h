// What this backend uses of CANN (Compute Architecture for Neural Networks), declared from its
// documented C interface: no CANN is needed to build. The plugin only takes the types of these
// functions and finds them at run time (cann_library.h); the tests' emulator defines them.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef int aclError;         // aclrt*: 0 or an ACL_ERROR_*
typedef int32_t aclnnStatus;  // aclnn* and the tensors': 0 or an ACLNN_ERR_*
typedef void* aclrtStream;
typedef void* aclrtContext;
typedef struct aclTensor aclTensor;
typedef struct aclIntArray aclIntArray;
typedef struct aclOpExecutor aclOpExecutor;

typedef enum {
  ACL_FLOAT = 0,
  ACL_FLOAT16 = 1,
  ACL_UINT8 = 4,
  ACL_BOOL = 12,
  ACL_BF16 = 27,
} aclDataType;
typedef enum { ACL_FORMAT_ND = 2 } aclFormat;
typedef enum { ACL_MEM_MALLOC_HUGE_FIRST = 0 } aclrtMemMallocPolicy;
typedef enum {
  ACL_MEMCPY_HOST_TO_HOST = 0,
  ACL_MEMCPY_HOST_TO_DEVICE = 1,
  ACL_MEMCPY_DEVICE_TO_HOST = 2,
  ACL_MEMCPY_DEVICE_TO_DEVICE = 3,
} aclrtMemcpyKind;

// ---- libascendcl.so: the runtime ----

aclError aclInit(
    const char* config);  // once a process; a repeat answers ACL_ERROR_REPEAT_INITIALIZE
aclError aclFinalize(void);
const char* aclGetRecentErrMsg(void);  // of this thread; NULL: none
aclError aclrtGetDeviceCount(uint32_t* count);
const char* aclrtGetSocName(void);
aclError aclrtSetDevice(int32_t device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtCreateContext(aclrtContext* context, int32_t device);
aclError aclrtSetCurrentContext(aclrtContext context);  // of this thread
aclError aclrtDestroyContext(aclrtContext context);
aclError aclrtCreateStream(aclrtStream* stream);
aclError aclrtDestroyStream(aclrtStream stream);
aclError aclrtSynchronizeStream(aclrtStream stream);
aclError aclrtMalloc(void** address, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtFree(void* address);
aclError aclrtMallocHost(void** address, size_t bytes);
aclError aclrtFreeHost(void* address);
aclError aclrtMemset(void* address, size_t capacity, int32_t value, size_t bytes);
aclError aclrtMemcpy(void* dst, size_t capacity, const void* src, size_t bytes,
                     aclrtMemcpyKind kind);
aclError aclrtMemcpyAsync(void* dst, size_t capacity, const void* src, size_t bytes,
                          aclrtMemcpyKind kind, aclrtStream stream);

// ---- libnnopbase.so: what operators take ----

// A view of device memory: sizes, strides and `offset` in elements.
aclTensor* aclCreateTensor(const int64_t* view_dims, uint64_t view_dims_num, aclDataType data_type,
                           const int64_t* stride, int64_t offset, aclFormat format,
                           const int64_t* storage_dims, uint64_t storage_dims_num,
                           void* tensor_data);
aclnnStatus aclDestroyTensor(const aclTensor* tensor);
aclIntArray* aclCreateIntArray(const int64_t* values, uint64_t size);
aclnnStatus aclDestroyIntArray(const aclIntArray* array);
// An executor belongs to CANN, which destroys it in the operator's second stage; one that is
// repeatable belongs to the caller.
aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor* executor);
aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor* executor);

// ---- libopapi.so, or libopapi_transformer.so of newer CANN: operators in two stages ----
// The first checks the arguments and makes an executor; the second enqueues it, once.

aclnnStatus aclnnFlashAttentionScoreGetWorkspaceSize(
    const aclTensor* query, const aclTensor* key, const aclTensor* value,
    const aclTensor* real_shift, const aclTensor* drop_mask, const aclTensor* padding_mask,
    const aclTensor* atten_mask, const aclIntArray* prefix, double scale_value, double keep_prob,
    int64_t pre_tokens, int64_t next_tokens, int64_t head_num, char* input_layout,
    int64_t inner_precise, int64_t sparse_mode, const aclTensor* softmax_max,
    const aclTensor* softmax_sum, const aclTensor* softmax_out, const aclTensor* attention_out,
    uint64_t* workspace_size, aclOpExecutor** executor);
aclnnStatus aclnnFlashAttentionScore(void* workspace, uint64_t workspace_size,
                                     aclOpExecutor* executor, const aclrtStream stream);

aclnnStatus aclnnPromptFlashAttentionV3GetWorkspaceSize(
    const aclTensor* query, const aclTensor* key, const aclTensor* value,
    const aclTensor* pse_shift, const aclTensor* atten_mask, const aclIntArray* actual_seq_lengths,
    const aclIntArray* actual_seq_lengths_kv, const aclTensor* deq_scale1,
    const aclTensor* quant_scale1, const aclTensor* deq_scale2, const aclTensor* quant_scale2,
    const aclTensor* quant_offset2, int64_t num_heads, double scale_value, int64_t pre_tokens,
    int64_t next_tokens, char* input_layout, int64_t num_key_value_heads, int64_t sparse_mode,
    int64_t inner_precise, const aclTensor* attention_out, uint64_t* workspace_size,
    aclOpExecutor** executor);
aclnnStatus aclnnPromptFlashAttentionV3(void* workspace, uint64_t workspace_size,
                                        aclOpExecutor* executor, const aclrtStream stream);

}  // extern "C"

// Status codes.
inline constexpr int ACL_ERROR_REPEAT_INITIALIZE = 100002;
inline constexpr int ACL_ERROR_BAD_ALLOC = 200000;
inline constexpr int ACL_ERROR_RT_MEMORY_ALLOCATION = 207001;
inline constexpr int ACLNN_ERR_PARAM_NULLPTR = 161001;
inline constexpr int ACLNN_ERR_PARAM_INVALID = 161002;
inline constexpr int ACLNN_ERR_RUNTIME_ERROR = 361001;
