// SpinGang: a unetd_gang for benchmarks, and the clock that they use.
#pragma once

#include <immintrin.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "backends/api/unetd_backend.h"

namespace unetd::bench {

// What the calling thread has computed, in seconds: on a machine that others use too, the fair
// clock.
inline double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Threads that spin briefly for work, then yield.
class SpinGang {
 public:
  explicit SpinGang(uint32_t threads) {
    abi_ = {sizeof(abi_), threads, this,
            [](void* self, uint32_t tasks, unetd_task fn, void* context) {
              static_cast<SpinGang*>(self)->Parallel(tasks, fn, context);
            }};
    for (uint32_t t = 1; t < threads; ++t) others_.emplace_back([this, t] { Serve(t); });
  }
  ~SpinGang() {
    stop_ = true;
    for (std::thread& other : others_) other.join();
  }
  const unetd_gang* abi() const { return &abi_; }
  // Seconds that all threads together spent on tasks since the last call; a gang of one is the
  // caller.
  double TakeBusy() {
    const double now = ThreadSeconds();
    const double alone = now - std::exchange(last_, now);
    const double shared = 1e-9 * static_cast<double>(busy_.exchange(0));
    return others_.empty() ? alone : shared;
  }

  void Parallel(uint32_t tasks, unetd_task fn, void* context) {
    fn_ = fn;
    context_ = context;
    tasks_ = tasks;
    next_ = 0;
    running_ = static_cast<uint32_t>(others_.size());
    ++round_;
    Work(0);
    while (running_ != 0) _mm_pause();
  }

 private:
  void Work(uint32_t thread) {
    const double start = ThreadSeconds();
    for (uint32_t i = next_++; i < tasks_; i = next_++) fn_(context_, i, thread);
    busy_ += static_cast<uint64_t>(1e9 * (ThreadSeconds() - start));
  }
  void Serve(uint32_t thread) {
    uint32_t seen = 0;
    for (int idle = 0; !stop_;) {
      if (round_ == seen) {
        if (++idle < 20000) {
          _mm_pause();
        } else {
          std::this_thread::yield();
        }
        continue;
      }
      idle = 0;
      ++seen;
      Work(thread);
      --running_;
    }
  }

  unetd_gang abi_;
  double last_ = 0;
  std::vector<std::thread> others_;
  std::atomic<uint32_t> round_{0}, next_{0}, running_{0};
  std::atomic<uint64_t> busy_{0};
  std::atomic<bool> stop_{false};
  unetd_task fn_ = nullptr;
  void* context_ = nullptr;
  uint32_t tasks_ = 0;
};

}  // namespace unetd::bench
