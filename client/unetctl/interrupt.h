// Ctrl-C as a wish to stop, not as an end.
#pragma once

namespace unetd::unetctl {

// While it lives, the first SIGINT or SIGTERM is only remembered; a second one kills as ever. One
// at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

bool Interrupted();  // since the guard was made

}  // namespace unetd::unetctl
