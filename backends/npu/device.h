// One Ascend device as this plugin uses it: a context, a stream and memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backends/npu/answer.h"
#include "backends/npu/cann_library.h"

namespace unetd::npu {

struct DeviceOptions {
  int32_t device = 0;
  std::string library_path;  // looked in first for CANN's libraries; empty: none
};

// Every method may be called by any thread; each sets the context of the thread that it is on.
class Device {
 public:
  // `host` must live as long as the device.
  static Answer Open(const DeviceOptions& options, const unetd_host* host,
                     std::unique_ptr<Device>* device);
  // Waits for what was enqueued, then gives everything back.
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Cann& cann() const { return cann_; }
  aclrtStream stream() const { return stream_; }
  const std::string& soc() const { return soc_; }  // "Ascend910B3"
  // A small allocation, for tensors that are only described, never read.
  void* probe() const { return probe_; }

  // Makes this device's context the calling thread's: CANN wants it before any other call.
  Answer Enter() const;

  // At least 512-byte aligned (CANN's promise).
  Answer Allocate(uint64_t bytes, void** address) const;
  // After all that was enqueued and might use it.
  void Free(void* address) const;
  // With a null `stream`: after everything enqueued on this device's stream, and complete when it
  // returns. Else enqueued on `stream`; a host's side must then be page-locked and live until the
  // stream is synchronised.
  Answer Copy(void* dst, const void* src, uint64_t bytes, int32_t direction,
              aclrtStream stream) const;

  // Logs that `function`, whose failure changes no result, answered `status` (0: nothing to log).
  void Warn(const char* function, int status) const;

 private:
  Device(const DeviceOptions& options, const unetd_host* host)
      : device_(options.device), host_(host) {}
  Answer Start(const DeviceOptions& options);
  // Ok, or the failure of `function`.
  Answer Check(const char* function, aclError status) const;

  Cann cann_;
  const int32_t device_;
  const unetd_host* const host_;
  bool in_use_ = false;  // aclrtSetDevice was called
  aclrtContext context_ = nullptr;
  aclrtStream stream_ = nullptr;
  void* probe_ = nullptr;
  std::string soc_;
};

}  // namespace unetd::npu
