// What the emulated libraries share. Every exported function begins with Fails, or ends with it if
// it gives something back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// The libraries are built with hidden visibility and export CANN's names alone.
#pragma GCC visibility push(default)
#include "backends/npu/cann.h"
#pragma GCC visibility pop

// A view, as CANN's headers leave it open.
struct aclTensor {
  aclDataType type;
  std::vector<int64_t> dims;
  std::vector<int64_t> strides;
  int64_t offset;
  void* data;
};
struct aclIntArray {
  std::vector<int64_t> values;
};
struct aclOpExecutor {
  const char* function;  // whose second stage takes it
  uint64_t workspace_bytes;
  std::vector<const aclTensor*> tensors;  // must live until the second stage
  // The kernel: a status.
  std::function<int(uint8_t* workspace)> run;
  bool repeatable = false;
};

namespace unetd::cann_emulator {

// Errors of the runtime, by CANN's numbers.
inline constexpr int kUninitialized = 100001;
inline constexpr int kRepeatInitialize = 100002;
inline constexpr int kInvalidParam = 107000;
inline constexpr int kInvalidDevice = 107001;
inline constexpr int kNoContext = 107002;
inline constexpr int kNoStream = 107003;
inline constexpr int kInvalidPointer = 107017;
inline constexpr int kOutOfMemory = 207001;
inline constexpr int kInjected = 507899;
inline constexpr int kKernelFault = 507015;

// Keeps `text` for aclGetRecentErrMsg on this thread; returns `status`.
int Say(int status, const std::string& text);
const char* RecentWords();
// True, with words, if it is this call that FailCall chose.
bool Fails(const char* function);

// ---- devices and contexts ----
int Initialize();
int Finalize();
uint32_t DeviceCount();
int SetDevice(int32_t device);
int ResetDevice(int32_t device);
int CreateContext(void** context, int32_t device);
int SetCurrentContext(void* context);
int DestroyContext(void* context);
// 0 if this thread has a context that lives, else the error.
int NeedContext(const char* function);

// ---- memory ----
int AllocateDevice(void** address, uint64_t bytes);
int FreeDevice(void* address);
int AllocateHost(void** address, uint64_t bytes);
int FreeHost(void* address);
// Where the emulator may touch [address, address + bytes) of device memory; null if that is not
// inside one living allocation.
uint8_t* DeviceBytes(const void* address, uint64_t bytes);
// Copies now; `kind` must fit the addresses.
int CopyNow(void* dst, const void* src, uint64_t bytes, aclrtMemcpyKind kind);

// ---- streams ----
int CreateStream(void** stream);
int DestroyStream(void* stream);
// Waits; the first failure of a task since the stream was made.
int SynchronizeStream(void* stream);
int Enqueue(void* stream, std::function<int()> task);

// ---- tensors and executors ----
aclTensor* AddTensor(aclTensor tensor);
int RemoveTensor(const aclTensor* tensor);
bool Lives(const aclTensor* tensor);
aclIntArray* AddArray(aclIntArray array);
int RemoveArray(const aclIntArray* array);
uint64_t ExtraWorkspace();
int64_t MostHeadDim();
aclOpExecutor* AddExecutor(aclOpExecutor executor);
int MakeRepeatable(aclOpExecutor* executor);
int RemoveExecutor(aclOpExecutor* executor);
// At the end of a first stage: other threads come between it and the second.
void LetOthersIn();
// The second stage of `function`: takes the executor, checks and enqueues.
int RunExecutor(const char* function, void* workspace, uint64_t workspace_bytes,
                aclOpExecutor* executor, void* stream);

// Counts for CountLeaks.
int64_t LivingBuffers();
int64_t LivingStreams();

}  // namespace unetd::cann_emulator
