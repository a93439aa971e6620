// AnswerUnary: the calls that carry no tensors. Their messages come as bytes too: a compressed one
// is then inflated within the limit, and one that cannot be read is INVALID_ARGUMENT, where gRPC
// would answer UNIMPLEMENTED to both.
#pragma once

#include <grpcpp/grpcpp.h>

#include "server/rpc/message_codec.h"
#include "server/rpc/status_codec.h"
#include "server/serving/server.h"

namespace unetd {

template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerUnary(const Server& server, grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
                                      Status (*answer)(const Server&, const Request&, Response&)) {
  Request question;
  Response reply;
  Status status = ParseControl(*request, question);
  if (status.ok()) status = answer(server, question, reply);
  if (status.ok()) *response = SerializeMessage(reply);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace unetd
