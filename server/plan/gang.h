// Gang: the host domain's threads. Entered once a section; between the operators of a section its
// threads spin briefly, then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "backends/api/unetd_backend.h"

namespace unetd {

class Gang {
 public:
  explicit Gang(uint32_t threads);  // the calling thread is one of them: threads - 1 are started
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  uint32_t threads() const { return threads_; }
  const unetd_gang* abi() const { return &abi_; }
  // See unetd_gang::parallel. Callers take turns.
  void Parallel(uint32_t tasks, unetd_task fn, void* context);

 private:
  void Work(uint32_t thread);
  void RunTasks(uint32_t thread);

  const uint32_t threads_;
  unetd_gang abi_{};
  std::mutex mutex_;
  unetd_task fn_ = nullptr;
  void* context_ = nullptr;
  uint32_t tasks_ = 0;
  alignas(64) std::atomic<uint32_t> next_{0};  // the next task that nobody has claimed
  alignas(64) std::atomic<uint64_t> state_{
      0};  // which generation is open, and how many workers are inside
  alignas(64) std::atomic<uint32_t> generation_{0};  // changes when there is work, or to stop
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace unetd
