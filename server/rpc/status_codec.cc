#include "server/rpc/status_codec.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <string>

namespace unetd {
namespace {

constexpr int64_t kRetryAfterMs = 500;

// A length-delimited field of a protobuf message, by hand: google.rpc's messages are not packaged.
void AppendField(std::string& message, uint32_t number, const std::string& bytes) {
  google::protobuf::io::StringOutputStream stream(&message);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.WriteVarint32(number << 3 | 2);
  coded.WriteVarint32(static_cast<uint32_t>(bytes.size()));
  coded.WriteString(bytes);
}

// google.rpc.Status{code, message, details: [Any{RetryInfo{retry_delay}}]}
std::string RetryDetails(const Status& status) {
  google::protobuf::Duration delay;
  delay.set_nanos(kRetryAfterMs * 1'000'000);
  std::string retry_info, any, details;
  AppendField(retry_info, 1, delay.SerializeAsString());
  AppendField(any, 1, "type.googleapis.com/google.rpc.RetryInfo");
  AppendField(any, 2, retry_info);
  details = {0x08, static_cast<char>(status.code())};
  AppendField(details, 2, status.message());
  AppendField(details, 3, any);
  return details;
}

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  if (status.retry_helps()) {
    return grpc::Status(code, status.message(), RetryDetails(status));
  }
  return grpc::Status(code, status.message());
}

}  // namespace unetd
