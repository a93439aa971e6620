// TestGang: a unetd_gang of short-lived threads, for tests that run operators.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "backends/api/unetd_backend.h"

namespace unetd::test {

// The order in which tasks are handed out; the ABI promises none, so a kernel must not care.
enum class TaskOrder { kForward, kBackward };

class TestGang {
 public:
  explicit TestGang(uint32_t threads, TaskOrder order = TaskOrder::kForward) : order_(order) {
    abi_.struct_size = sizeof(abi_);
    abi_.threads = threads == 0 ? 1 : threads;
    abi_.self = this;
    abi_.parallel = [](void* self, uint32_t tasks, unetd_task fn, void* context) {
      static_cast<TestGang*>(self)->Parallel(tasks, fn, context);
    };
  }
  TestGang(const TestGang&) = delete;
  TestGang& operator=(const TestGang&) = delete;

  const unetd_gang* abi() const { return &abi_; }
  uint32_t threads() const { return abi_.threads; }

 private:
  void Parallel(uint32_t tasks, unetd_task fn, void* context) {
    std::atomic<uint32_t> next{0};
    auto work = [&](uint32_t thread) {
      for (uint32_t i = next++; i < tasks; i = next++) {
        fn(context, order_ == TaskOrder::kForward ? i : tasks - 1 - i, thread);
      }
    };
    std::vector<std::thread> others;
    for (uint32_t t = 1; t < abi_.threads && t < tasks; ++t) others.emplace_back(work, t);
    work(0);
    for (std::thread& other : others) other.join();
  }

  const TaskOrder order_;
  unetd_gang abi_{};
};

}  // namespace unetd::test
