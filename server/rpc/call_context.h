// What every reactor needs of its call: the deadline, and a cancel that may come before the handle.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>

#include "server/serving/request.h"

namespace unetd {

// The client's deadline on the server's clock; none if it set none.
inline std::optional<TimePoint> DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return std::nullopt;
  const auto left = deadline - std::chrono::system_clock::now();
  // gRPC's "infinite future" arrives as a far date; the sum below must not overflow.
  if (left > std::chrono::hours(24 * 365)) return std::nullopt;
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(left);
}

// Hands a cancel to a call whose handle may not be there yet.
class Canceller {
 public:
  void SetHandle(std::shared_ptr<CallHandle> handle) {
    std::unique_lock lock(mutex_);
    handle_ = std::move(handle);
    if (!cancelled_) return;
    const std::shared_ptr<CallHandle> cancelled = handle_;
    lock.unlock();
    cancelled->Cancel();
  }
  void Cancel() {
    std::unique_lock lock(mutex_);
    cancelled_ = true;
    const std::shared_ptr<CallHandle> handle = handle_;
    lock.unlock();
    if (handle != nullptr) handle->Cancel();
  }

 private:
  std::mutex mutex_;
  bool cancelled_ = false;
  std::shared_ptr<CallHandle> handle_;
};

}  // namespace unetd
