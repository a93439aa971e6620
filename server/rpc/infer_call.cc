#include "server/rpc/infer_call.h"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "server/rpc/call_context.h"
#include "server/rpc/infer_codec.h"
#include "server/rpc/message_codec.h"
#include "server/rpc/status_codec.h"
#include "server/serving/request_log.h"

namespace unetd {
namespace {

using grpc::ByteBuffer;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;

// One inference of a message: reads it, asks the server, answers once by `done`.
class Inference {
 public:
  using Done = std::function<void(Status)>;

  void Start(Server& server, ByteBuffer& message, ModelInferResponse& response,
             std::optional<TimePoint> deadline, Done done) {
    InferRequest request;
    const int limit = MessageLimit(server.settings().server.limits);
    const Status status = DecodeInfer(message, limit, request);
    message.Clear();
    response.set_model_name(request.model);
    response.set_id(request.id);
    if (!status.ok()) {
      server.Refused("infer", request, status);
      return done(status);
    }
    request.deadline = deadline;
    canceller_.SetHandle(server.Infer(
        std::move(request), [&response, done = std::move(done)](StatusOr<InferResult> result) {
          if (result.ok()) EncodeInfer(*std::move(result), response);
          done(result.ok() ? OkStatus() : result.status());
        }));
  }
  void Cancel() { canceller_.Cancel(); }

 private:
  Canceller canceller_;
};

class InferCall : public grpc::ServerUnaryReactor {
 public:
  InferCall(Server& server, grpc::CallbackServerContext& context, ByteBuffer& request,
            ByteBuffer& response) {
    inference_.Start(server, request, answer_, DeadlineOf(context),
                     [this, &response](const Status& status) {
                       if (status.ok()) response = SerializeMessage(answer_);
                       Finish(ToGrpc(status));
                     });
  }
  void OnCancel() override { inference_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  ModelInferResponse answer_;
  Inference inference_;
};

class StreamInferCall : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  StreamInferCall(Server& server, grpc::CallbackServerContext& context)
      : server_(server),
        deadline_(DeadlineOf(context)),
        // tritonclient sets this header where an error should end the stream with its code.
        errors_end_stream_(HasHeader(context, "triton_grpc_error", "true")) {
    Read();
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Slot> slot;
    {
      std::lock_guard lock(mutex_);
      reading_ = false;
      if (!ok) {
        half_closed_ = true;
      } else if (!cancelled_) {  // else nobody would wait for its answer
        slot = std::move(next_);
        slots_.push_back(slot);
      }
    }
    if (slot != nullptr) StartSlot(slot);
    Advance();
  }

  void OnWriteDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
      slots_.pop_front();
      if (!ok) cancelled_ = true;
    }
    Advance();
  }

  void OnCancel() override {
    std::unique_lock lock(mutex_);
    CancelAll(lock);
  }

  void OnDone() override { delete this; }

 private:
  struct Slot {
    ByteBuffer request;
    ModelStreamInferResponse response;
    ByteBuffer answer;
    Inference inference;
    Status status;
    bool answered = false;
  };

  static bool HasHeader(const grpc::CallbackServerContext& context, const char* key,
                        const char* value) {
    const auto found = context.client_metadata().find(key);
    return found != context.client_metadata().end() && found->second == value;
  }

  void StartSlot(const std::shared_ptr<Slot>& slot) {
    slot->inference.Start(server_, slot->request, *slot->response.mutable_infer_response(),
                          deadline_, [this, slot](Status status) {
                            slot->status = std::move(status);
                            Encode(*slot);
                            {
                              std::lock_guard lock(mutex_);
                              slot->answered = true;
                              // The slot's last word keeps `this` alive until Advance.
                              ++advancing_;
                            }
                            Advance(true);
                          });
  }

  static void Encode(Slot& slot) {
    auto& parameters = *slot.response.mutable_infer_response()->mutable_parameters();
    parameters["triton_final_response"].set_bool_param(true);
    if (!slot.status.ok()) {
      slot.response.set_error_message(slot.status.message());
      parameters["unetd_status_code"].set_string_param(std::string(CodeName(slot.status.code())));
    }
    slot.answer = SerializeMessage(slot.response);
    slot.response.Clear();
  }

  void Read() {
    next_ = std::make_shared<Slot>();
    reading_ = true;
    StartRead(&next_->request);
  }

  // Starts whatever may be started now; ends the call when nothing is left to do.
  void Advance(bool counted = false) {
    std::unique_lock lock(mutex_);
    if (counted) --advancing_;
    if (finished_) return;
    if (cancelled_) {
      if (!writing_ && advancing_ == 0 && !AnyRunning()) End(lock, end_);
      return;
    }
    if (!writing_ && !slots_.empty() && slots_.front()->answered) {
      Slot& slot = *slots_.front();
      if (!slot.status.ok() && errors_end_stream_) {
        end_ = ToGrpc(slot.status);
        return CancelAll(lock);
      }
      writing_ = true;
      StartWrite(&slot.answer);
    }
    if (!reading_ && !half_closed_ && slots_.size() < kMaxInFlight) Read();
    if (half_closed_ && slots_.empty() && !writing_ && advancing_ == 0) End(lock, grpc::Status::OK);
  }

  // Every answer still comes, CANCELLED or not; the last one ends the call.
  void CancelAll(std::unique_lock<std::mutex>& lock) {
    cancelled_ = true;
    ++advancing_;
    const std::vector<std::shared_ptr<Slot>> running(slots_.begin(), slots_.end());
    lock.unlock();
    for (const auto& slot : running) slot->inference.Cancel();
    Advance(true);
  }

  bool AnyRunning() const {
    for (const auto& slot : slots_) {
      if (!slot->answered) return true;
    }
    return false;
  }

  void End(std::unique_lock<std::mutex>& lock, const grpc::Status& status) {
    finished_ = true;
    lock.unlock();
    Finish(status);
  }

  Server& server_;
  const std::optional<TimePoint> deadline_;
  const bool errors_end_stream_;
  std::mutex mutex_;
  std::shared_ptr<Slot> next_;  // being read
  std::deque<std::shared_ptr<Slot>> slots_;
  int advancing_ = 0;  // answers that have not come to Advance yet
  bool reading_ = false;
  bool writing_ = false;
  bool half_closed_ = false;
  bool cancelled_ = false;
  bool finished_ = false;
  grpc::Status end_{grpc::StatusCode::CANCELLED, "cancelled by the client"};
};

}  // namespace

grpc::ServerUnaryReactor* NewInferCall(Server& server, grpc::CallbackServerContext& context,
                                       ByteBuffer& request, ByteBuffer& response) {
  return new InferCall(server, context, request, response);
}

grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* NewStreamInferCall(
    Server& server, grpc::CallbackServerContext& context) {
  return new StreamInferCall(server, context);
}

}  // namespace unetd
