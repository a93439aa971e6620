// Status and StatusOr: how every fallible call of the server answers. No exception crosses a room's
// door.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace unetd {

// The gRPC codes that the server uses, with gRPC's numbers.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same call may do better in a moment, with nothing changed by its caller.
  bool retry_helps() const { return retry_helps_; }
  Status WithRetry() const {
    Status status = *this;
    status.retry_helps_ = true;
    return status;
  }

  // The same status with `context` put before its message; OK stays OK.
  Status WithContext(std::string_view context) const {
    Status status = *this;
    if (!ok()) status.message_.insert(0, context);
    return status;
  }

 private:
  Code code_ = Code::kOk;
  bool retry_helps_ = false;
  std::string message_;
};

inline Status OkStatus() { return {}; }
inline Status InvalidArgument(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}
inline Status NotFound(std::string message) { return {Code::kNotFound, std::move(message)}; }
inline Status ResourceExhausted(std::string message) {
  return {Code::kResourceExhausted, std::move(message)};
}
inline Status Unimplemented(std::string message) {
  return {Code::kUnimplemented, std::move(message)};
}
inline Status Internal(std::string message) { return {Code::kInternal, std::move(message)}; }
inline Status Cancelled(std::string message) { return {Code::kCancelled, std::move(message)}; }
inline Status DeadlineExceeded(std::string message) {
  return {Code::kDeadlineExceeded, std::move(message)};
}
inline Status Unavailable(std::string message) { return {Code::kUnavailable, std::move(message)}; }

// A value or the status that says why there is none.
template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(Status status) : status_(std::move(status)) { assert(!status_.ok()); }
  StatusOr(T value) : value_(std::move(value)) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace unetd

#define UNETD_CONCAT_INNER(a, b) a##b
#define UNETD_CONCAT(a, b) UNETD_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expr)                                            \
  do {                                                                   \
    if (::unetd::Status status_ = (expr); !status_.ok()) return status_; \
  } while (false)

#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(UNETD_CONCAT(status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                          \
  if (!tmp.ok()) return tmp.status();         \
  lhs = std::move(tmp).value()
