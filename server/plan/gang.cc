#include "server/plan/gang.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unetd {
namespace {

// `state_` is generation << 32 | open bit | workers inside.
constexpr uint64_t kOpen = 1u << 31;
constexpr uint64_t kInside = kOpen - 1;
constexpr int kSpins =
    4000;  // tens of microseconds: longer than between two operators, shorter than a time slice

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

Gang::Gang(uint32_t threads) : threads_(std::max(threads, 1u)) {
  abi_ = {sizeof(unetd_gang), threads_, this,
          [](void* self, uint32_t tasks, unetd_task fn, void* context) {
            static_cast<Gang*>(self)->Parallel(tasks, fn, context);
          }};
  for (uint32_t thread = 1; thread < threads_; ++thread)
    workers_.emplace_back([this, thread] { Work(thread); });
}

Gang::~Gang() {
  stop_ = true;
  ++generation_;
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Gang::RunTasks(uint32_t thread) {
  for (uint32_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;)
    fn_(context_, task, thread);
}

void Gang::Parallel(uint32_t tasks, unetd_task fn, void* context) {
  std::lock_guard lock(mutex_);
  if (tasks == 0) return;
  if (tasks == 1 || threads_ == 1) {
    for (uint32_t task = 0; task < tasks; ++task) fn(context, task, 0);
    return;
  }
  fn_ = fn;
  context_ = context;
  tasks_ = tasks;
  next_.store(0, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  state_.store(uint64_t{generation} << 32 | kOpen, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  RunTasks(0);
  // A worker that has not come in by now never will; those inside finish their task first.
  uint64_t state = state_.fetch_and(~kOpen, std::memory_order_acquire) & ~kOpen;
  for (int spin = 0; (state & kInside) != 0; ++spin) {
    if (spin < kSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
    state = state_.load(std::memory_order_acquire);
  }
}

void Gang::Work(uint32_t thread) {
  uint32_t seen = 0;
  while (true) {
    for (int spin = 0; spin < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spin)
      Pause();
    generation_.wait(seen, std::memory_order_acquire);
    if (stop_) return;
    seen = generation_.load(std::memory_order_acquire);
    uint64_t state = state_.load(std::memory_order_acquire);
    while ((state >> 32) == seen && (state & kOpen) != 0) {
      if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
        RunTasks(thread);
        state_.fetch_sub(1, std::memory_order_release);
        break;
      }
    }
  }
}

}  // namespace unetd
