// Messages as they come off the wire. gRPC inflates a compressed message before it looks at its
// size, so a small one could fill the memory; here it is inflated piece by piece, no further than
// the limit.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include "server/base/status.h"
#include "server/settings/settings.h"

namespace unetd {

// The largest message in bytes, by gRPC's signed 32 bits.
int MessageLimit(const LimitSettings& limits);

// The largest message of a call that carries no tensors.
inline constexpr int kControlLimit = 1 << 20;

// Inflates gzip and deflate. INVALID_ARGUMENT if it is no such message, RESOURCE_EXHAUSTED if it is
// larger than `limit`.
Status ParseMessage(const grpc::ByteBuffer& bytes, int limit,
                    google::protobuf::MessageLite& message);

// The same of a call that carries no tensors: at most kControlLimit.
Status ParseControl(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite& message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::MessageLite& message);

}  // namespace unetd
