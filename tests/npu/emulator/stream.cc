// Streams: each has a thread that takes its tasks in order, a little later than it could, so that a
// caller who forgets to wait sees old bytes.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "tests/npu/emulator/core.h"
#include "tests/npu/emulator/emulator.h"

namespace unetd::cann_emulator {
namespace {

constexpr auto kDelay = std::chrono::microseconds(300);
constexpr auto kLongest = std::chrono::seconds(10);  // that streams are held

// Closed while streams are held.
class Gate {
 public:
  static Gate& Only() {
    static Gate gate;
    return gate;
  }
  void Close(bool closed) {
    {
      const std::lock_guard lock(mutex_);
      closed_ = closed;
    }
    changed_.notify_all();
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kLongest, [&] { return !closed_; })) closed_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
};

class Stream {
 public:
  Stream() : thread_([this] { Work(); }) {}
  ~Stream() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Add(std::function<int()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_all();
  }

  int Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.empty() && !working_; });
    return status_;
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return closing_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::function<int()> task = std::move(tasks_.front());
      tasks_.pop_front();
      working_ = true;
      lock.unlock();
      std::this_thread::sleep_for(kDelay);
      Gate::Only().Pass();
      const int status = task();
      lock.lock();
      if (status_ == 0) status_ = status;
      working_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<int()>> tasks_;
  bool working_ = false;
  bool closing_ = false;
  int status_ = 0;
  std::thread thread_;  // last: it uses the others
};

struct Streams {
  std::mutex mutex;
  std::map<void*, std::shared_ptr<Stream>> living;
};

Streams& TheStreams() {
  static Streams streams;
  return streams;
}

std::shared_ptr<Stream> Find(void* stream) {
  const std::lock_guard lock(TheStreams().mutex);
  const auto it = TheStreams().living.find(stream);
  return it == TheStreams().living.end() ? nullptr : it->second;
}

}  // namespace

void HoldStreams(bool hold) { Gate::Only().Close(hold); }

int CreateStream(void** stream) {
  auto made = std::make_shared<Stream>();
  *stream = made.get();
  const std::lock_guard lock(TheStreams().mutex);
  TheStreams().living.emplace(*stream, std::move(made));
  return 0;
}

int DestroyStream(void* stream) {
  std::shared_ptr<Stream> taken = Find(stream);
  if (taken == nullptr) return Say(kNoStream, "no such stream");
  const std::lock_guard lock(TheStreams().mutex);
  TheStreams().living.erase(stream);
  return 0;
}

int SynchronizeStream(void* stream) {
  const std::shared_ptr<Stream> found = Find(stream);
  if (found == nullptr) return Say(kNoStream, "no such stream");
  const int status = found->Wait();
  return status == 0 ? 0 : Say(status, "a task of the stream failed");
}

int Enqueue(void* stream, std::function<int()> task) {
  const std::shared_ptr<Stream> found = Find(stream);
  if (found == nullptr) return Say(kNoStream, "no such stream");
  found->Add(std::move(task));
  return 0;
}

int64_t LivingStreams() {
  const std::lock_guard lock(TheStreams().mutex);
  return static_cast<int64_t>(TheStreams().living.size());
}

}  // namespace unetd::cann_emulator
