#include "client/unetctl/interrupt.h"

#include <csignal>
#include <initializer_list>

namespace unetd::unetctl {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

void SetHandler(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESETHAND;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  g_interrupted = 0;
  SetHandler([](int) { g_interrupted = 1; });
}

InterruptGuard::~InterruptGuard() { SetHandler(SIG_DFL); }

bool Interrupted() { return g_interrupted != 0; }

}  // namespace unetd::unetctl
