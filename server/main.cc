// unetd: the server's command line.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "server/base/cpu.h"
#include "server/base/log.h"
#include "server/rpc/rpc_server.h"
#include "server/serving/check.h"
#include "server/settings/parser.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;

constexpr double kStopSeconds = 2;  // for answers to leave, after the drain

struct Arguments {
  std::string config;
  std::string plugin_dir;
  bool check = false;
};

fs::path ExecutableFolder() {
  std::error_code error;
  const fs::path exe = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::current_path() : exe.parent_path();
}

// The shipped config: in the source tree (build/bin/unetd) or installed beside (../share/unetd).
StatusOr<fs::path> ShippedConfig() {
  const fs::path bin = ExecutableFolder();
  for (const char* place : {"../share/unetd/unetd.json", "../../config/unetd.json"}) {
    std::error_code error;
    if (fs::path path = fs::weakly_canonical(bin / place, error);
        !error && fs::is_regular_file(path, error)) {
      return path;
    }
  }
  return NotFound(
      "the shipped config was not found beside the executable: give one with --config FILE");
}

StatusOr<Settings> ReadSettings(const Arguments& arguments) {
  if (!arguments.config.empty()) return LoadSettings(arguments.config);
  ASSIGN_OR_RETURN(const fs::path shipped, ShippedConfig());
  return LoadSettings(shipped);
}

int Fail(const Status& status) {
  std::fprintf(stderr, "unetd: %s\n", status.message().c_str());
  return 1;
}

int Check(Server& server) {
  if (Status status = server.Load(); !status.ok()) return Fail(status);
  std::fputs(CheckText(server).c_str(), stdout);
  return 0;
}

// As many connections as the machine allows: gRPC 1.51 stops listening for good once a connection
// finds no descriptor.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The next signal that ends the server; SIGUSR1 only once `failed`: anybody may send one.
int WaitForSignal(const sigset_t& signals, const std::atomic<bool>& failed) {
  int signal = 0;
  while (sigwait(&signals, &signal) != 0 || (signal == SIGUSR1 && !failed)) {
  }
  return signal;
}

int Serve(Server& server, const sigset_t& signals) {
  StatusOr<std::unique_ptr<RpcServer>> started = RpcServer::Start(server);
  if (!started.ok()) return Fail(started.status());
  RpcServer& rpc = **started;
  UNETD_LOG_INFO("listening on {} (gRPC) and {} (HTTP); {}", rpc.address(), rpc.http_address(),
                 CpuModel());

  Status loaded;
  std::atomic<bool> failed{false};
  std::thread loader([&] {
    loaded = server.Load();
    if (loaded.ok()) {
      rpc.SetServing(true);
      UNETD_LOG_INFO("ready");
    } else {
      failed = true;
      kill(getpid(), SIGUSR1);
    }
  });
  const int signal = WaitForSignal(signals, failed);
  if (signal == SIGUSR1) {
    loader.join();
    return Fail(loaded);
  }
  UNETD_LOG_INFO("stopping: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  if (!server.ready()) {
    // Still loading: nothing was admitted, so there is nothing to drain.
    std::fflush(nullptr);
    _exit(0);
  }
  loader.join();
  rpc.SetServing(false);
  const bool drained = server.Drain(server.settings().server.limits.drain_s);
  rpc.Stop(kStopSeconds);
  UNETD_LOG_INFO("stopped{}", drained ? "" : ": some requests were cancelled");
  return 0;
}

int Run(int argc, char** argv) {
  CLI::App app{
      "unetd serves diffusion UNets over gRPC, every attention layer bound to a processor by "
      "config."};
  Arguments arguments;
  app.add_option("-c,--config", arguments.config,
                 "config file (JSON); without it the shipped digits model is served");
  app.add_flag("--check", arguments.check,
               "validate the config, load everything, print the bindings and exit");
  app.add_option("--plugin-dir", arguments.plugin_dir,
                 "where backends lie (default: ../lib/unetd from the executable)");
  app.set_version_flag("--version", "unetd " UNETD_VERSION);
  CLI11_PARSE(app, argc, argv);

  // Blocked before any thread starts, so that every thread inherits it and sigwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();

  StatusOr<Settings> settings = ReadSettings(arguments);
  if (!settings.ok()) return Fail(settings.status());
  InitLog(settings->server.log_format,
          arguments.check ? LogLevel::kWarning : settings->server.log_level);
  const fs::path plugins = arguments.plugin_dir.empty() ? ExecutableFolder() / "../lib/unetd"
                                                        : fs::path(arguments.plugin_dir);
  const std::unique_ptr<Server> server = Server::Create(*std::move(settings), plugins);
  return arguments.check ? Check(*server) : Serve(*server, signals);
}

}  // namespace
}  // namespace unetd

int main(int argc, char** argv) { return unetd::Run(argc, argv); }
