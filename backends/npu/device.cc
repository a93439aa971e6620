#include "backends/npu/device.h"

#include <cstdio>
#include <map>
#include <mutex>

namespace unetd::npu {
namespace {

constexpr uint64_t kProbeBytes = 512;

// How many Devices of this process use each of CANN's: aclrtResetDevice would take them all down,
// so the last one calls it.
class Users {
 public:
  static Users& All() {
    static Users users;
    return users;
  }
  void Add(int32_t device) {
    const std::lock_guard lock(mutex_);
    ++count_[device];
  }
  // True for the last one.
  bool Remove(int32_t device) {
    const std::lock_guard lock(mutex_);
    return --count_[device] == 0;
  }

 private:
  std::mutex mutex_;
  std::map<int32_t, int> count_;
};

}  // namespace

Answer Device::Open(const DeviceOptions& options, const unetd_host* host,
                    std::unique_ptr<Device>* device) {
  std::unique_ptr<Device> opened(new Device(options, host));
  if (Answer a = LoadCann(options.library_path, &opened->cann_); !a.ok()) return a;
  if (Answer a = opened->Start(options); !a.ok()) return a;
  *device = std::move(opened);
  return Ok();
}

Answer Device::Check(const char* function, aclError status) const {
  return status == 0 ? Ok() : Failed(cann_.Words(function, status));
}

Answer Device::Start(const DeviceOptions& options) {
  const aclError init = cann_.aclInit(nullptr);
  if (init != ACL_ERROR_REPEAT_INITIALIZE) {
    if (Answer a = Check("aclInit", init); !a.ok()) return a;
  }
  uint32_t count = 0;
  Answer a = Check("aclrtGetDeviceCount", cann_.aclrtGetDeviceCount(&count));
  if (!a.ok()) return a;
  if (count == 0) return Unsupported("CANN finds no Ascend device in this machine");
  if (options.device < 0 || static_cast<uint32_t>(options.device) >= count) {
    return Invalid("option device: expected 0 to " + std::to_string(count - 1) + ", got " +
                   std::to_string(options.device));
  }
  if (a = Check("aclrtSetDevice", cann_.aclrtSetDevice(device_)); !a.ok()) return a;
  Users::All().Add(device_);
  in_use_ = true;
  if (a = Check("aclrtCreateContext", cann_.aclrtCreateContext(&context_, device_)); !a.ok()) {
    context_ = nullptr;
    return a;
  }
  if (a = Enter(); !a.ok()) return a;
  if (a = Check("aclrtCreateStream", cann_.aclrtCreateStream(&stream_)); !a.ok()) {
    stream_ = nullptr;
    return a;
  }
  if (a = Allocate(kProbeBytes, &probe_); !a.ok()) return a;
  const char* soc = cann_.aclrtGetSocName == nullptr ? nullptr : cann_.aclrtGetSocName();
  soc_ = soc == nullptr || *soc == '\0' ? "Ascend device" : soc;
  return Ok();
}

Device::~Device() {
  if (context_ != nullptr) {
    Warn("aclrtSetCurrentContext", cann_.aclrtSetCurrentContext(context_));
    if (stream_ != nullptr) {
      Warn("aclrtSynchronizeStream", cann_.aclrtSynchronizeStream(stream_));
    }
    if (probe_ != nullptr) Warn("aclrtFree", cann_.aclrtFree(probe_));
    if (stream_ != nullptr) Warn("aclrtDestroyStream", cann_.aclrtDestroyStream(stream_));
    Warn("aclrtDestroyContext", cann_.aclrtDestroyContext(context_));
  }
  // aclFinalize is left out: a process may not start CANN again after it.
  if (in_use_ && Users::All().Remove(device_)) {
    Warn("aclrtResetDevice", cann_.aclrtResetDevice(device_));
  }
}

Answer Device::Enter() const {
  const aclError status = cann_.aclrtSetCurrentContext(context_);
  return status == 0 ? Ok() : Failed(cann_.Words("aclrtSetCurrentContext", status));
}

Answer Device::Allocate(uint64_t bytes, void** address) const {
  *address = nullptr;
  if (Answer a = Enter(); !a.ok()) return a;
  const aclError status = cann_.aclrtMalloc(address, bytes, ACL_MEM_MALLOC_HUGE_FIRST);
  if (status == 0) return Ok();
  *address = nullptr;
  Answer answer = Failed(std::to_string(bytes) + " bytes: " + cann_.Words("aclrtMalloc", status));
  if (status == ACL_ERROR_RT_MEMORY_ALLOCATION || status == ACL_ERROR_BAD_ALLOC) {
    answer.code = UNETD_NO_MEMORY;
  }
  return answer;
}

void Device::Free(void* address) const {
  if (address == nullptr) return;
  Warn("aclrtSetCurrentContext", cann_.aclrtSetCurrentContext(context_));
  Warn("aclrtSynchronizeStream", cann_.aclrtSynchronizeStream(stream_));
  Warn("aclrtFree", cann_.aclrtFree(address));
}

Answer Device::Copy(void* dst, const void* src, uint64_t bytes, int32_t direction,
                    aclrtStream stream) const {
  aclrtMemcpyKind kind;
  switch (direction) {
    case UNETD_COPY_TO_DOMAIN:
      kind = ACL_MEMCPY_HOST_TO_DEVICE;
      break;
    case UNETD_COPY_FROM_DOMAIN:
      kind = ACL_MEMCPY_DEVICE_TO_HOST;
      break;
    case UNETD_COPY_WITHIN:
      kind = ACL_MEMCPY_DEVICE_TO_DEVICE;
      break;
    default:
      return Invalid("unknown copy direction " + std::to_string(direction));
  }
  if (bytes == 0) return Ok();
  if (Answer a = Enter(); !a.ok()) return a;
  if (stream != nullptr) {
    return Check("aclrtMemcpyAsync", cann_.aclrtMemcpyAsync(dst, bytes, src, bytes, kind, stream));
  }
  if (direction == UNETD_COPY_WITHIN) {
    Answer a =
        Check("aclrtMemcpyAsync", cann_.aclrtMemcpyAsync(dst, bytes, src, bytes, kind, stream_));
    return a.ok() ? Check("aclrtSynchronizeStream", cann_.aclrtSynchronizeStream(stream_)) : a;
  }
  // The host's side is ordinary memory, which older CANN may not take in an asynchronous copy; and
  // the blocking one knows no stream, so what was enqueued must end first.
  Answer a = Check("aclrtSynchronizeStream", cann_.aclrtSynchronizeStream(stream_));
  return a.ok() ? Check("aclrtMemcpy", cann_.aclrtMemcpy(dst, bytes, src, bytes, kind)) : a;
}

void Device::Warn(const char* function, int status) const {
  if (status == 0 || host_ == nullptr || host_->log == nullptr) return;
  const char* words = cann_.aclGetRecentErrMsg == nullptr ? nullptr : cann_.aclGetRecentErrMsg();
  char text[512];
  std::snprintf(text, sizeof(text), "npu: %s: status %d: %s", function, status,
                words == nullptr ? "" : words);
  host_->log(2, text);
}

}  // namespace unetd::npu
