#include "server/rpc/denoiser_service.h"

#include <list>
#include <memory>
#include <mutex>

#include "server/rpc/call_context.h"
#include "server/rpc/denoise_codec.h"
#include "server/rpc/message_codec.h"
#include "server/rpc/status_codec.h"

namespace unetd {
namespace {

// Events that wait for a client that reads slowly; more, and the oldest progress or preview is
// dropped.
constexpr size_t kMaxWaiting = 64;

class DenoiseCall : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  DenoiseCall(Server& server, grpc::CallbackServerContext& context, grpc::ByteBuffer& message) {
    DenoiseRequest request;
    const int limit = MessageLimit(server.settings().server.limits);
    const Status status = DecodeDenoise(message, limit, request);
    message.Clear();
    if (!status.ok()) {
      server.Refused("denoise", request, status);
      Finish(ToGrpc(status));
      return;
    }
    request.deadline = DeadlineOf(context);
    canceller_.SetHandle(server.Denoise(std::move(request), std::make_shared<Listener>(this)));
  }

  void OnWriteDone(bool) override {
    std::unique_lock lock(mutex_);
    writing_ = false;
    waiting_.pop_front();
    Advance(lock);
  }
  void OnCancel() override { canceller_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  // The server may hold it longer than the call lives, but tells it nothing after OnFinished.
  class Listener : public DenoiseListener {
   public:
    explicit Listener(DenoiseCall* call) : call_(call) {}

    void OnAccepted(const DenoiseAccepted& accepted) override {
      v1::DenoiseResponse event;
      event.mutable_accepted()->set_variant(accepted.variant);
      event.mutable_accepted()->set_plan_bytes(accepted.plan_bytes);
      call_->Push(event);
    }
    void OnProgress(const DenoiseProgress& progress) override {
      v1::DenoiseResponse event;
      v1::Progress& out = *event.mutable_progress();
      out.set_step(static_cast<int32_t>(progress.step));
      out.set_total(static_cast<int32_t>(progress.total));
      out.set_timestep(progress.timestep);
      out.set_ms(progress.ms);
      call_->Push(event);
    }
    void OnPreview(int64_t step, OutputTensor preview) override {
      v1::DenoiseResponse event;
      event.mutable_preview()->set_step(static_cast<int32_t>(step));
      EncodeTensor(std::move(preview), *event.mutable_preview()->mutable_sample());
      call_->Push(event);
    }
    void OnFinished(StatusOr<DenoiseResult> result) override { call_->End(std::move(result)); }

   private:
    DenoiseCall* const call_;
  };

  void Push(const v1::DenoiseResponse& event) {
    grpc::ByteBuffer bytes = SerializeMessage(event);
    std::unique_lock lock(mutex_);
    // The first two entries stay: one may be on its way, and `accepted` comes first.
    if (waiting_.size() >= kMaxWaiting) waiting_.erase(std::next(waiting_.begin(), 2));
    waiting_.push_back(std::move(bytes));
    Advance(lock);
  }

  void End(StatusOr<DenoiseResult> result) {
    if (result.ok()) {
      v1::DenoiseResponse event;
      event.mutable_result()->set_variant(result->variant);
      EncodeTensor(std::move(result->sample), *event.mutable_result()->mutable_sample());
      Push(event);
    }
    std::unique_lock lock(mutex_);
    if (!result.ok()) end_ = ToGrpc(result.status());
    ended_ = true;
    Advance(lock);
  }

  void Advance(std::unique_lock<std::mutex>& lock) {
    if (writing_) return;
    if (!waiting_.empty()) {
      writing_ = true;
      StartWrite(&waiting_.front());
    } else if (ended_) {
      // Unlocked first: Finish may end this object's life.
      const grpc::Status end = end_;
      lock.unlock();
      Finish(end);
    }
  }

  Canceller canceller_;
  std::mutex mutex_;
  std::list<grpc::ByteBuffer> waiting_;
  bool writing_ = false;
  bool ended_ = false;
  grpc::Status end_;
};

class StepCall : public grpc::ServerUnaryReactor {
 public:
  StepCall(Server& server, grpc::CallbackServerContext& context, grpc::ByteBuffer& message,
           grpc::ByteBuffer& response) {
    StepRequest request;
    const int limit = MessageLimit(server.settings().server.limits);
    const Status status = DecodeStep(message, limit, request);
    message.Clear();
    if (!status.ok()) {
      server.Refused("step", request, status);
      Finish(ToGrpc(status));
      return;
    }
    request.deadline = DeadlineOf(context);
    canceller_.SetHandle(
        server.Step(std::move(request), [this, &response](StatusOr<DenoiseResult> result) {
          if (!result.ok()) return Finish(ToGrpc(result.status()));
          v1::StepResponse answer;
          EncodeStep(*std::move(result), answer);
          response = SerializeMessage(answer);
          Finish(grpc::Status::OK);
        }));
  }
  void OnCancel() override { canceller_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  Canceller canceller_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* DenoiserService::Denoise(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  // Ours alone, and no longer needed once it is read.
  return new DenoiseCall(server_, *context, const_cast<grpc::ByteBuffer&>(*request));
}

grpc::ServerUnaryReactor* DenoiserService::Step(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                grpc::ByteBuffer* response) {
  return new StepCall(server_, *context, const_cast<grpc::ByteBuffer&>(*request), *response);
}

}  // namespace unetd
