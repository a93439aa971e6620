// CANN's functions, found at run time.
#pragma once

#include <string>

#include "backends/npu/answer.h"
#include "backends/npu/cann.h"

namespace unetd::npu {

// Every function that this plugin calls: REQUIRED must be there, OPTIONAL are null where they are
// not.
#define UNETD_CANN_FUNCTIONS(REQUIRED, OPTIONAL)        \
  REQUIRED(aclInit)                                     \
  OPTIONAL(aclGetRecentErrMsg)                          \
  REQUIRED(aclrtGetDeviceCount)                         \
  OPTIONAL(aclrtGetSocName)                             \
  REQUIRED(aclrtSetDevice)                              \
  REQUIRED(aclrtResetDevice)                            \
  REQUIRED(aclrtCreateContext)                          \
  REQUIRED(aclrtSetCurrentContext)                      \
  REQUIRED(aclrtDestroyContext)                         \
  REQUIRED(aclrtCreateStream)                           \
  REQUIRED(aclrtDestroyStream)                          \
  REQUIRED(aclrtSynchronizeStream)                      \
  REQUIRED(aclrtMalloc)                                 \
  REQUIRED(aclrtFree)                                   \
  REQUIRED(aclrtMemcpy)                                 \
  REQUIRED(aclrtMemcpyAsync)                            \
  REQUIRED(aclCreateTensor)                             \
  REQUIRED(aclDestroyTensor)                            \
  OPTIONAL(aclSetAclOpExecutorRepeatable)               \
  OPTIONAL(aclDestroyAclOpExecutor)                     \
  OPTIONAL(aclnnFlashAttentionScoreGetWorkspaceSize)    \
  OPTIONAL(aclnnFlashAttentionScore)                    \
  OPTIONAL(aclnnPromptFlashAttentionV3GetWorkspaceSize) \
  OPTIONAL(aclnnPromptFlashAttentionV3)

struct Cann {
#define UNETD_CANN_MEMBER(name) decltype(&::name) name = nullptr;
  UNETD_CANN_FUNCTIONS(UNETD_CANN_MEMBER, UNETD_CANN_MEMBER)
#undef UNETD_CANN_MEMBER

  // Both stages of an operator or neither.
  bool has_flash_attention_score() const {
    return aclnnFlashAttentionScoreGetWorkspaceSize != nullptr &&
           aclnnFlashAttentionScore != nullptr;
  }
  bool has_prompt_flash_attention() const {
    return aclnnPromptFlashAttentionV3GetWorkspaceSize != nullptr &&
           aclnnPromptFlashAttentionV3 != nullptr;
  }

  // "aclrtMalloc: status 207001: <CANN's own words>"
  std::string Words(const char* function, int status) const;
};

// Opens CANN's libraries from `library_path` (empty: none), $ASCEND_HOME_PATH/lib64,
// $ASCEND_TOOLKIT_HOME/lib64, $ASCEND_OPP_PATH/vendors/*/op_api/lib and the loader's path, each
// from the first of them that has it, and looks for every function in all of them. They stay
// loaded: CANN keeps threads of its own. UNSUPPORTED, with the files and folders, if something
// needed is missing.
Answer LoadCann(const std::string& library_path, Cann* cann);

}  // namespace unetd::npu
