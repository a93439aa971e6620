#include "server/rpc/message_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/gzip_stream.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <algorithm>
#include <limits>

#include "server/base/text.h"

namespace unetd {
namespace {

namespace io = google::protobuf::io;

// gRPC does not say whether a message came compressed, but its first byte does: none of our
// messages can begin with gzip's (no protobuf message can) nor with zlib's (field 15, a varint).
bool IsCompressed(io::ZeroCopyInputStream& bytes) {
  const void* data = nullptr;
  int size = 0;
  while (size == 0) {
    if (!bytes.Next(&data, &size)) return false;
  }
  bytes.BackUp(size);
  const unsigned char first = *static_cast<const unsigned char*>(data);
  return first == 0x1f || first == 0x78;
}

// `setting` names what set the limit, after a comma; "" if nothing can change it.
Status Parse(io::ZeroCopyInputStream& stream, int limit, const char* setting,
             google::protobuf::MessageLite& message) {
  io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(limit);
  if (message.ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage()) return OkStatus();
  if (coded.BytesUntilTotalBytesLimit() <= 0) {
    return ResourceExhausted(
        Format("Received message larger than max ({} bytes{})", limit, setting));
  }
  return InvalidArgument(
      Format("expected a message {}, got bytes that are none", message.GetTypeName()));
}

Status Inflate(const grpc::ByteBuffer& bytes, int limit, const char* setting,
               google::protobuf::MessageLite& message) {
  grpc::ByteBuffer shared = bytes;  // its slices, not their bytes: the reader wants a pointer
  if (!shared.Valid()) return InvalidArgument("expected a message, got none, or one cut short");
  grpc::ProtoBufferReader reader(&shared);
  if (!reader.status().ok()) return Internal(reader.status().error_message());
  if (!IsCompressed(reader)) return Parse(reader, limit, setting, message);
  io::GzipInputStream inflated(&reader, io::GzipInputStream::AUTO);
  return Parse(inflated, limit, setting, message);
}

}  // namespace

int MessageLimit(const LimitSettings& limits) {
  return static_cast<int>(
      std::min<int64_t>(limits.message_mib << 20, std::numeric_limits<int>::max()));
}

Status ParseMessage(const grpc::ByteBuffer& bytes, int limit,
                    google::protobuf::MessageLite& message) {
  return Inflate(bytes, limit, ", server.limits.message_mib", message);
}

Status ParseControl(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message) {
  return Inflate(bytes, kControlLimit, "", message);
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::MessageLite& message) {
  grpc::ByteBuffer bytes;
  const auto size = static_cast<int>(message.ByteSizeLong());
  grpc::ProtoBufferWriter writer(&bytes, grpc::kProtoBufferWriterMaxBufferLength, size);
  message.SerializeToZeroCopyStream(&writer);
  return bytes;
}

}  // namespace unetd
