#include "server/rpc/profile_call.h"

#include <utility>

#include "server/rpc/call_context.h"
#include "server/rpc/message_codec.h"
#include "server/rpc/status_codec.h"
#include "unetd/v1/admin.pb.h"

namespace unetd {
namespace {

Status Decode(const grpc::ByteBuffer& message, ProfileRequest& request) {
  v1::ProfileRequest asked;
  RETURN_IF_ERROR(ParseControl(message, asked));
  request.model = asked.model();
  request.variant = asked.variant();
  request.rows = asked.rows();
  request.height = asked.height();
  request.width = asked.width();
  request.repeats = asked.repeats();
  return OkStatus();
}

void Encode(const ProfiledOperator& op, v1::OperatorTime& out) {
  out.set_name(op.text);
  out.set_backend(op.backend);
  out.set_ms(op.ms);
  out.set_calls(op.calls);
  out.set_layer(op.layer);
  out.set_kind(op.kind);
  out.set_kernel(op.kernel);
  out.set_section(op.section);
  out.set_flops(op.flops);
  out.set_bytes(op.bytes);
}

v1::ProfileResponse Encode(const ProfileResult& result) {
  v1::ProfileResponse out;
  out.set_variant(result.variant);
  out.set_forward_ms(result.forward_ms);
  for (const ProfiledOperator& op : result.operators) Encode(op, *out.add_operators());
  out.set_rows(static_cast<int32_t>(result.rows));
  out.set_height(static_cast<int32_t>(result.height));
  out.set_width(static_cast<int32_t>(result.width));
  out.set_repeats(static_cast<int32_t>(result.repeats));
  out.set_threads(static_cast<int32_t>(result.threads));
  out.set_cpu(result.cpu);
  out.set_model(result.model);
  out.set_shape(result.shape);
  return out;
}

class ProfileCall : public grpc::ServerUnaryReactor {
 public:
  ProfileCall(Server& server, grpc::CallbackServerContext& context, const grpc::ByteBuffer& message,
              grpc::ByteBuffer& response) {
    ProfileRequest request;
    if (const Status status = Decode(message, request); !status.ok()) {
      Finish(ToGrpc(status));
      return;
    }
    request.deadline = DeadlineOf(context);
    canceller_.SetHandle(
        server.Profile(std::move(request), [this, &response](StatusOr<ProfileResult> result) {
          if (!result.ok()) return Finish(ToGrpc(result.status()));
          response = SerializeMessage(Encode(*result));
          Finish(grpc::Status::OK);
        }));
  }
  void OnCancel() override { canceller_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  Canceller canceller_;
};

}  // namespace

grpc::ServerUnaryReactor* NewProfileCall(Server& server, grpc::CallbackServerContext& context,
                                         const grpc::ByteBuffer& request,
                                         grpc::ByteBuffer& response) {
  return new ProfileCall(server, context, request, response);
}

}  // namespace unetd
