// libascendcl.so: the runtime.
#include "tests/npu/emulator/core.h"

namespace emulator = unetd::cann_emulator;
using emulator::Fails;
using emulator::kInjected;

extern "C" {

aclError aclInit(const char*) { return Fails("aclInit") ? kInjected : emulator::Initialize(); }

aclError aclFinalize(void) { return emulator::Finalize(); }

const char* aclGetRecentErrMsg(void) { return emulator::RecentWords(); }

aclError aclrtGetDeviceCount(uint32_t* count) {
  if (Fails("aclrtGetDeviceCount")) return kInjected;
  *count = emulator::DeviceCount();
  return 0;
}

const char* aclrtGetSocName(void) { return "AscendEmulated"; }

aclError aclrtSetDevice(int32_t device) {
  return Fails("aclrtSetDevice") ? kInjected : emulator::SetDevice(device);
}

aclError aclrtResetDevice(int32_t device) {
  const int status = emulator::ResetDevice(device);
  return Fails("aclrtResetDevice") ? kInjected : status;
}

aclError aclrtCreateContext(aclrtContext* context, int32_t device) {
  return Fails("aclrtCreateContext") ? kInjected : emulator::CreateContext(context, device);
}

aclError aclrtSetCurrentContext(aclrtContext context) {
  return Fails("aclrtSetCurrentContext") ? kInjected : emulator::SetCurrentContext(context);
}

aclError aclrtDestroyContext(aclrtContext context) {
  const int status = emulator::DestroyContext(context);
  return Fails("aclrtDestroyContext") ? kInjected : status;
}

aclError aclrtCreateStream(aclrtStream* stream) {
  if (Fails("aclrtCreateStream")) return kInjected;
  const int status = emulator::NeedContext("aclrtCreateStream");
  return status != 0 ? status : emulator::CreateStream(stream);
}

aclError aclrtDestroyStream(aclrtStream stream) {
  const int status = emulator::DestroyStream(stream);
  return Fails("aclrtDestroyStream") ? kInjected : status;
}

aclError aclrtSynchronizeStream(aclrtStream stream) {
  if (Fails("aclrtSynchronizeStream")) return kInjected;
  const int status = emulator::NeedContext("aclrtSynchronizeStream");
  return status != 0 ? status : emulator::SynchronizeStream(stream);
}

aclError aclrtMalloc(void** address, size_t bytes, aclrtMemMallocPolicy) {
  if (Fails("aclrtMalloc")) return kInjected;
  const int status = emulator::NeedContext("aclrtMalloc");
  return status != 0 ? status : emulator::AllocateDevice(address, bytes);
}

aclError aclrtFree(void* address) {
  const int status = emulator::FreeDevice(address);
  return Fails("aclrtFree") ? kInjected : status;
}

aclError aclrtMallocHost(void** address, size_t bytes) {
  if (Fails("aclrtMallocHost")) return kInjected;
  const int status = emulator::NeedContext("aclrtMallocHost");
  return status != 0 ? status : emulator::AllocateHost(address, bytes);
}

aclError aclrtFreeHost(void* address) {
  const int status = emulator::FreeHost(address);
  return Fails("aclrtFreeHost") ? kInjected : status;
}

aclError aclrtMemset(void* address, size_t capacity, int32_t value, size_t bytes) {
  if (Fails("aclrtMemset")) return kInjected;
  uint8_t* content = emulator::DeviceBytes(address, bytes);
  if (content == nullptr || bytes > capacity) {
    return emulator::Say(emulator::kInvalidPointer, "aclrtMemset: out of bounds");
  }
  for (size_t i = 0; i < bytes; ++i) content[i] = static_cast<uint8_t>(value);
  return 0;
}

// Now, whatever the streams still have to do.
aclError aclrtMemcpy(void* dst, size_t capacity, const void* src, size_t bytes,
                     aclrtMemcpyKind kind) {
  if (Fails("aclrtMemcpy")) return kInjected;
  if (const int status = emulator::NeedContext("aclrtMemcpy"); status != 0) return status;
  if (bytes > capacity) return emulator::Say(emulator::kInvalidParam, "aclrtMemcpy: too long");
  return emulator::CopyNow(dst, src, bytes, kind);
}

aclError aclrtMemcpyAsync(void* dst, size_t capacity, const void* src, size_t bytes,
                          aclrtMemcpyKind kind, aclrtStream stream) {
  if (Fails("aclrtMemcpyAsync")) return kInjected;
  if (const int status = emulator::NeedContext("aclrtMemcpyAsync"); status != 0) return status;
  if (bytes > capacity) return emulator::Say(emulator::kInvalidParam, "aclrtMemcpyAsync: too long");
  return emulator::Enqueue(stream, [=] { return emulator::CopyNow(dst, src, bytes, kind); });
}

}  // extern "C"
