#include "server/rpc/infer_call.h"

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "server/rpc/call_context.h"
#include "server/rpc/infer_codec.h"
#include "server/rpc/status_codec.h"
#include "server/serving/request_log.h"

namespace unetd {
namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;

// One inference of a message: decodes it, asks the server, answers once by `done`.
class Inference {
 public:
  using Done = std::function<void(Status)>;

  void Start(Server& server, const ModelInferRequest& message, ModelInferResponse& response,
             std::optional<TimePoint> deadline, Done done) {
    if (Status status = DecodeInfer(message, decoded_); !status.ok()) {
      server.Refused("infer", decoded_.request, status);
      return done(std::move(status));
    }
    decoded_.request.deadline = deadline;
    canceller_.SetHandle(
        server.Infer(std::move(decoded_.request),
                     [&response, done = std::move(done)](StatusOr<InferResult> result) {
                       if (result.ok()) EncodeInfer(*std::move(result), response);
                       done(result.ok() ? OkStatus() : result.status());
                     }));
  }
  void Cancel() { canceller_.Cancel(); }

 private:
  DecodedInfer decoded_;
  Canceller canceller_;
};

class InferCall : public grpc::ServerUnaryReactor {
 public:
  InferCall(Server& server, grpc::CallbackServerContext& context, const ModelInferRequest& request,
            ModelInferResponse& response)
      : inference_(std::make_shared<Inference>()) {
    inference_->Start(server, request, response, DeadlineOf(context),
                      [this](Status status) { Finish(ToGrpc(status)); });
  }
  void OnCancel() override { inference_->Cancel(); }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<Inference> inference_;
};

class StreamInferCall
    : public grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse> {
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
    ModelInferRequest request;
    ModelStreamInferResponse response;
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
                            {
                              std::lock_guard lock(mutex_);
                              slot->status = std::move(status);
                              Describe(*slot);
                              slot->answered = true;
                              // Under the lock still: the slot's last word keeps `this` alive until
                              // Advance.
                              ++advancing_;
                            }
                            Advance(true);
                          });
  }

  static void Describe(Slot& slot) {
    ModelInferResponse& response = *slot.response.mutable_infer_response();
    response.set_id(slot.request.id());
    auto& parameters = *response.mutable_parameters();
    parameters["triton_final_response"].set_bool_param(true);
    if (slot.status.ok()) return;
    slot.response.set_error_message(slot.status.message());
    response.set_model_name(slot.request.model_name());
    parameters["unetd_status_code"].set_string_param(std::string(CodeName(slot.status.code())));
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
      StartWrite(&slot.response);
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
                                       const ModelInferRequest& request,
                                       ModelInferResponse& response) {
  return new InferCall(server, context, request, response);
}

grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>* NewStreamInferCall(
    Server& server, grpc::CallbackServerContext& context) {
  return new StreamInferCall(server, context);
}

}  // namespace unetd
