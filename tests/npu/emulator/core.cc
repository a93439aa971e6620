#include "tests/npu/emulator/core.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "tests/npu/emulator/emulator.h"

namespace unetd::cann_emulator {
namespace {

struct Context {
  int32_t device;
};

struct Core {
  std::mutex mutex;
  bool initialized = false;
  uint32_t device_count = 1;
  uint64_t extra_workspace = 0;
  int64_t most_head_dim = 768;
  std::set<int32_t> devices;
  std::map<void*, std::unique_ptr<Context>> contexts;
  std::map<const aclTensor*, std::unique_ptr<aclTensor>> tensors;
  std::map<const aclIntArray*, std::unique_ptr<aclIntArray>> arrays;
  std::map<aclOpExecutor*, std::unique_ptr<aclOpExecutor>> executors;
  // Used ones keep their addresses, so that no new one is taken for them.
  std::vector<std::unique_ptr<aclOpExecutor>> used;
  uint64_t calls_to_failure = 0;
  std::string failed;
};

Core& TheCore() {
  static Core core;
  return core;
}

std::atomic<uint64_t> runs{0};
thread_local std::string words;
thread_local void* current_context = nullptr;
thread_local int32_t current_device = -1;  // of aclrtSetDevice: its default context

std::unique_ptr<aclOpExecutor> Take(Core& core, aclOpExecutor* executor) {
  const auto it = core.executors.find(executor);
  if (it == core.executors.end()) return nullptr;
  std::unique_ptr<aclOpExecutor> taken = std::move(it->second);
  core.executors.erase(it);
  return taken;
}

}  // namespace

// ---- control ----

Leaks CountLeaks() {
  Core& core = TheCore();
  const std::lock_guard lock(core.mutex);
  const auto size = [](const auto& set) { return static_cast<int64_t>(set.size()); };
  return {size(core.devices),
          size(core.contexts),
          LivingStreams(),
          LivingBuffers(),
          size(core.tensors) + size(core.arrays),
          size(core.executors)};
}

void FailCall(uint64_t n) {
  Core& core = TheCore();
  const std::lock_guard lock(core.mutex);
  core.calls_to_failure = n;
  core.failed.clear();
}

std::string FailedCall() {
  Core& core = TheCore();
  const std::lock_guard lock(core.mutex);
  return core.failed;
}

void SetDeviceCount(uint32_t count) {
  const std::lock_guard lock(TheCore().mutex);
  TheCore().device_count = count;
}

void SetExtraWorkspace(uint64_t bytes) {
  const std::lock_guard lock(TheCore().mutex);
  TheCore().extra_workspace = bytes;
}

void SetMostHeadDim(int64_t head_dim) {
  const std::lock_guard lock(TheCore().mutex);
  TheCore().most_head_dim = head_dim;
}

uint64_t CountRuns() { return runs; }

// ---- words and failures ----

int Say(int status, const std::string& text) {
  words = text;
  return status;
}

const char* RecentWords() { return words.empty() ? nullptr : words.c_str(); }

bool Fails(const char* function) {
  Core& core = TheCore();
  const std::lock_guard lock(core.mutex);
  if (core.calls_to_failure == 0 || --core.calls_to_failure != 0) return false;
  core.failed = function;
  words = std::string("injected failure of ") + function;
  return true;
}

// ---- devices and contexts ----

int Initialize() {
  const std::lock_guard lock(TheCore().mutex);
  if (TheCore().initialized) return Say(kRepeatInitialize, "initialised already");
  TheCore().initialized = true;
  return 0;
}

int Finalize() {
  const std::lock_guard lock(TheCore().mutex);
  TheCore().initialized = false;
  return 0;
}

uint32_t DeviceCount() {
  const std::lock_guard lock(TheCore().mutex);
  return TheCore().device_count;
}

int SetDevice(int32_t device) {
  const std::lock_guard lock(TheCore().mutex);
  if (!TheCore().initialized) return Say(kUninitialized, "aclInit was not called");
  if (device < 0 || static_cast<uint32_t>(device) >= TheCore().device_count) {
    return Say(kInvalidDevice, "there is no device " + std::to_string(device));
  }
  TheCore().devices.insert(device);
  current_device = device;
  return 0;
}

// Takes everything of the device down.
int ResetDevice(int32_t device) {
  const std::lock_guard lock(TheCore().mutex);
  if (TheCore().devices.erase(device) == 0) return Say(kInvalidDevice, "the device is not set");
  std::erase_if(TheCore().contexts, [&](const auto& it) { return it.second->device == device; });
  return 0;
}

int CreateContext(void** context, int32_t device) {
  const std::lock_guard lock(TheCore().mutex);
  if (!TheCore().devices.contains(device)) return Say(kInvalidDevice, "the device is not set");
  auto made = std::make_unique<Context>(Context{device});
  *context = current_context = made.get();
  TheCore().contexts.emplace(*context, std::move(made));
  return 0;
}

int SetCurrentContext(void* context) {
  const std::lock_guard lock(TheCore().mutex);
  if (!TheCore().contexts.contains(context)) return Say(kNoContext, "no such context");
  current_context = context;
  return 0;
}

int DestroyContext(void* context) {
  const std::lock_guard lock(TheCore().mutex);
  return TheCore().contexts.erase(context) == 1 ? 0 : Say(kNoContext, "no such context");
}

int NeedContext(const char* function) {
  const std::lock_guard lock(TheCore().mutex);
  if (TheCore().contexts.contains(current_context)) return 0;
  if (current_context == nullptr && TheCore().devices.contains(current_device)) return 0;
  return Say(kNoContext, std::string(function) + ": this thread has no context");
}

// ---- tensors and executors ----

aclTensor* AddTensor(aclTensor tensor) {
  auto made = std::make_unique<aclTensor>(std::move(tensor));
  aclTensor* address = made.get();
  const std::lock_guard lock(TheCore().mutex);
  TheCore().tensors.emplace(address, std::move(made));
  return address;
}

int RemoveTensor(const aclTensor* tensor) {
  const std::lock_guard lock(TheCore().mutex);
  if (TheCore().tensors.erase(tensor) == 1) return 0;
  return Say(ACLNN_ERR_PARAM_INVALID, "aclDestroyTensor: no such tensor");
}

bool Lives(const aclTensor* tensor) {
  const std::lock_guard lock(TheCore().mutex);
  return TheCore().tensors.contains(tensor);
}

aclIntArray* AddArray(aclIntArray array) {
  auto made = std::make_unique<aclIntArray>(std::move(array));
  aclIntArray* address = made.get();
  const std::lock_guard lock(TheCore().mutex);
  TheCore().arrays.emplace(address, std::move(made));
  return address;
}

int RemoveArray(const aclIntArray* array) {
  const std::lock_guard lock(TheCore().mutex);
  if (TheCore().arrays.erase(array) == 1) return 0;
  return Say(ACLNN_ERR_PARAM_INVALID, "aclDestroyIntArray: no such array");
}

uint64_t ExtraWorkspace() {
  const std::lock_guard lock(TheCore().mutex);
  return TheCore().extra_workspace;
}

int64_t MostHeadDim() {
  const std::lock_guard lock(TheCore().mutex);
  return TheCore().most_head_dim;
}

aclOpExecutor* AddExecutor(aclOpExecutor executor) {
  auto made = std::make_unique<aclOpExecutor>(std::move(executor));
  aclOpExecutor* address = made.get();
  const std::lock_guard lock(TheCore().mutex);
  TheCore().executors.emplace(address, std::move(made));
  return address;
}

int MakeRepeatable(aclOpExecutor* executor) {
  const std::lock_guard lock(TheCore().mutex);
  const auto it = TheCore().executors.find(executor);
  if (it == TheCore().executors.end()) return Say(ACLNN_ERR_PARAM_INVALID, "no such executor");
  it->second->repeatable = true;
  return 0;
}

int RemoveExecutor(aclOpExecutor* executor) {
  const std::lock_guard lock(TheCore().mutex);
  std::unique_ptr<aclOpExecutor> taken = Take(TheCore(), executor);
  if (taken == nullptr) return Say(ACLNN_ERR_PARAM_INVALID, "no such executor");
  const bool repeatable = taken->repeatable;
  TheCore().used.push_back(std::move(taken));
  return repeatable ? 0 : Say(ACLNN_ERR_PARAM_INVALID, "the executor is not repeatable");
}

void LetOthersIn() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

int RunExecutor(const char* function, void* workspace, uint64_t workspace_bytes,
                aclOpExecutor* executor, void* stream) {
  std::function<int(uint8_t*)> run;
  uint64_t needed = 0;
  {
    Core& core = TheCore();
    const std::lock_guard lock(core.mutex);
    std::unique_ptr<aclOpExecutor> taken = Take(core, executor);
    if (taken == nullptr) {
      return Say(ACLNN_ERR_RUNTIME_ERROR,
                 std::string(function) + ": the executor was used already, or never made");
    }
    run = taken->run;
    needed = taken->workspace_bytes;
    const bool mine = std::string(function) == taken->function;
    const std::vector<const aclTensor*> tensors = taken->tensors;
    core.used.push_back(std::move(taken));
    if (!mine) return Say(ACLNN_ERR_RUNTIME_ERROR, "the executor is another operator's");
    for (const aclTensor* tensor : tensors) {
      if (!core.tensors.contains(tensor)) {
        return Say(ACLNN_ERR_RUNTIME_ERROR, "a tensor was destroyed before the second stage");
      }
    }
  }
  if (workspace_bytes < needed || DeviceBytes(workspace, workspace_bytes) == nullptr ||
      reinterpret_cast<uintptr_t>(workspace) % 512 != 0) {
    return Say(ACLNN_ERR_RUNTIME_ERROR,
               std::string(function) + ": the workspace is too small, on the host or unaligned");
  }
  return Enqueue(stream, [run = std::move(run), workspace, workspace_bytes] {
    uint8_t* bytes = DeviceBytes(workspace, workspace_bytes);
    if (bytes == nullptr) return kKernelFault;
    std::fill(bytes, bytes + workspace_bytes, uint8_t{0xff});
    ++runs;
    return run(bytes);
  });
}

}  // namespace unetd::cann_emulator
