#include "client/unetctl/load.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "client/unetctl/failure.h"
#include "client/unetctl/interrupt.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kTick{50};
// A server that refuses at once would otherwise be asked as fast as the machine can.
constexpr std::chrono::milliseconds kRestAfterError{10};

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class ClosedLoop {
 public:
  ClosedLoop(const LoadPlan& plan, const CallMaker& maker) : plan_(plan), maker_(maker) {}

  LoadResult Run(const std::function<void(int64_t, double)>& tick) {
    std::vector<Call> calls;
    for (int64_t client = 0; client < plan_.clients; ++client) calls.push_back(maker_());
    running_ = plan_.clients;
    start_ = Clock::now();
    std::vector<std::thread> threads;
    for (Call& call : calls) {
      threads.emplace_back([this, &call] { Work(call); });
    }
    Watch(tick);
    for (std::thread& thread : threads) thread.join();
    return std::move(result_);
  }

 private:
  void Watch(const std::function<void(int64_t, double)>& tick) {
    std::unique_lock lock(mutex_);
    while (running_ > 0) {
      changed_.wait_for(lock, kTick);
      if (Interrupted() && !stopping_) {
        stopping_ = true;
        for (grpc::ClientContext* context : under_way_) context->TryCancel();
      }
      const int64_t answered = static_cast<int64_t>(result_.ms.size()) + result_.errors;
      lock.unlock();
      if (tick) tick(answered, SecondsSince(start_));
      lock.lock();
    }
  }

  void Work(const Call& call) {
    while (true) {
      grpc::ClientContext context;
      if (!Begin(context)) break;
      const Clock::time_point sent = Clock::now();
      const grpc::Status status = call(context);
      const double ms = SecondsSince(sent) * 1e3;
      if (!End(context, status, ms)) std::this_thread::sleep_for(kRestAfterError);
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_one();
  }

  bool Begin(grpc::ClientContext& context) {
    const std::lock_guard lock(mutex_);
    const bool done =
        plan_.requests > 0 ? begun_ >= plan_.requests : SecondsSince(start_) >= plan_.duration_s;
    if (done || stopping_) return false;
    ++begun_;
    if (plan_.timeout_s > 0) {
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::microseconds(static_cast<int64_t>(plan_.timeout_s * 1e6)));
    }
    under_way_.insert(&context);
    return true;
  }

  // False if the call failed.
  bool End(grpc::ClientContext& context, const grpc::Status& status, double ms) {
    const std::lock_guard lock(mutex_);
    under_way_.erase(&context);
    if (stopping_ && status.error_code() == grpc::StatusCode::CANCELLED) return true;
    result_.seconds = SecondsSince(start_);
    if (status.ok()) {
      result_.ms.push_back(ms);
      return true;
    }
    if (result_.errors++ == 0) {
      result_.first_error =
          Format("{}: {}", CodeName(status.error_code()), Printable(status.error_message()));
    }
    return false;
  }

  const LoadPlan& plan_;
  const CallMaker& maker_;
  Clock::time_point start_;
  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::set<grpc::ClientContext*> under_way_;
  LoadResult result_;
  int64_t running_ = 0;
  int64_t begun_ = 0;
  bool stopping_ = false;
};

}  // namespace

LoadResult RunLoad(const LoadPlan& plan, const CallMaker& maker,
                   const std::function<void(int64_t, double)>& tick) {
  return ClosedLoop(plan, maker).Run(tick);
}

}  // namespace unetd::unetctl
