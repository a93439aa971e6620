// A backend's ABI table and its opened state as C++: Status for every return code, RAII for what
// must be given back.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "backends/api/unetd_backend.h"
#include "server/base/status.h"

namespace unetd {

class Backend;

// Where a plugin's log lines go: level 0 debug, 1 info, 2 warning, 3 error. Null: the server's log.
using HostLog = void (*)(int32_t level, const char* text);

// One operator made ready by its backend; releases itself and keeps its backend open. Immutable:
// Run may be called by several threads at once with different exec structs.
class Prepared {
 public:
  Prepared() = default;  // empty: valid() is false, Run answers kInternal
  Prepared(Prepared&& other) noexcept;
  Prepared& operator=(Prepared&& other) noexcept;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;
  ~Prepared();

  bool valid() const { return backend_ != nullptr; }
  uint64_t workspace_bytes() const { return workspace_bytes_; }                // whatever the rows
  uint64_t thread_workspace_bytes() const { return thread_workspace_bytes_; }  // each thread
  uint32_t max_threads() const { return max_threads_; }                        // 0: no limit
  const std::string& description() const { return description_; }
  const std::shared_ptr<const Backend>& backend() const { return backend_; }

  // The caller fills exec and args whole, their struct_size too. Nothing is allocated unless it
  // fails. kCancelled if exec.cancel was seen, kInternal if the contract was broken or the kernel
  // failed.
  Status Run(const unetd_exec& exec, const unetd_args& args) const;

 private:
  friend class Backend;
  void Release() noexcept;

  std::shared_ptr<const Backend> backend_;
  void* handle_ = nullptr;
  uint64_t workspace_bytes_ = 0;
  uint64_t thread_workspace_bytes_ = 0;
  uint32_t max_threads_ = 0;
  std::string description_;
};

// Return codes become: UNSUPPORTED kUnimplemented, INVALID kInternal, NO_MEMORY kResourceExhausted,
// CANCELLED kCancelled, FAILED and unknown ones kInternal. A message is "backend 'cpu' <call>: <the
// backend's own words>". What the ABI wants called by one thread at a time is serialised here, so
// every method may be called by any thread.
class Backend : public std::enable_shared_from_this<Backend> {
 public:
  using Options = std::span<const std::pair<std::string, std::string>>;

  // Checks the table (see CheckTable), opens it and reads its description. `origin` is the file, or
  // "built in", for messages; `table` must live as long as the process. An INVALID option is
  // kInvalidArgument with the backend's words.
  static StatusOr<std::shared_ptr<Backend>> Open(const unetd_backend* table, Options options,
                                                 std::string origin, HostLog log = nullptr);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  const std::string& origin() const { return origin_; }
  const unetd_backend_info& info() const {
    return info_;
  }                                                    // its texts are terminated and printable
  std::string domain() const { return info_.domain; }  // "host", "cuda", ...
  bool owns_domain() const { return info_.owns_domain != 0; }

  // OK, or kUnimplemented with the backend's own reason.
  Status Supports(const unetd_op_desc& desc) const;

  // Only for descriptors that Supports accepts and weights that they have.
  StatusOr<unetd_recipe> PackRecipe(const unetd_op_desc& desc, uint32_t weight) const;
  // Writes recipe.bytes to `packed` (64-byte aligned, in this backend's domain). `gang` may be
  // null.
  Status Pack(const unetd_op_desc& desc, uint32_t weight, const unetd_recipe& recipe,
              const unetd_weight& source, const unetd_gang* gang, void* packed) const;
  StatusOr<Prepared> Prepare(const unetd_op_desc& desc) const;

  // The domain's memory; kFailedPrecondition where the backend owns no domain. 0 bytes are a null
  // address. Addresses are 64-byte aligned. `direction` is a UNETD_COPY_*; `stream` the native
  // stream of a device domain.
  StatusOr<void*> Allocate(uint64_t bytes) const;
  void Free(void* address, uint64_t bytes) const;
  Status Copy(void* dst, const void* src, uint64_t bytes, int32_t direction,
              void* stream = nullptr) const;

 private:
  friend class Prepared;
  explicit Backend(const unetd_backend* table, std::string origin, HostLog log);

  // Calls `call(unetd_error*)`, whatever it returns or throws becomes a Status.
  template <typename F>
  Status Guarded(std::string_view what, F&& call) const;
  Status ReadInfo();

  const unetd_backend* const table_;
  const std::string origin_;
  std::string name_;
  std::string version_;
  unetd_host host_{};  // the plugin may keep its address
  void* state_ = nullptr;
  bool opened_ = false;
  unetd_backend_info info_{};
  mutable std::mutex mutex_;  // serialises what the ABI calls from one thread at a time
};

// The checks that come before any call into a table: size, version, required entries, name and
// version texts. Every failure is kFailedPrecondition and begins with `origin`.
Status CheckTable(const unetd_backend* table, const std::string& origin);

// Bytes in a backend's domain, given back on destruction; keeps the backend open.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  static StatusOr<DeviceBuffer> Create(std::shared_ptr<const Backend> backend, uint64_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer();

  uint8_t* data() const { return static_cast<uint8_t*>(address_); }
  uint64_t bytes() const { return bytes_; }
  const std::shared_ptr<const Backend>& backend() const { return backend_; }

 private:
  std::shared_ptr<const Backend> backend_;
  void* address_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace unetd
