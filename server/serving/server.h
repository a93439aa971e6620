// Server: the facade that the wire services call. Any thread may call any method, but for Load and
// Drain, which are called once each; the destructor ends whatever still runs.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/serving/info.h"
#include "server/serving/profile.h"
#include "server/serving/request.h"
#include "server/serving/stats.h"
#include "server/settings/settings.h"

namespace unetd {

class Server {
 public:
  // Cheap: nothing is loaded. `plugin_dir`: where backends lie.
  static std::unique_ptr<Server> Create(Settings settings, std::filesystem::path plugin_dir);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Opens backends and models, packs weights, builds and warms the plans of `shapes`; then the
  // server is ready. Errors name the JSON path, the layer and the reason. Blocks; live() and the
  // others answer meanwhile.
  Status Load();

  bool live() const;   // until it is destroyed
  bool ready() const;  // loaded and not draining
  // OK if the model exists, has the version ("" or "1") and serves. NOT_FOUND, INVALID_ARGUMENT,
  // UNAVAILABLE.
  Status CheckModel(std::string_view name, std::string_view version) const;

  // Every check of a request but the wire's is made here, before memory is taken. The answer comes
  // exactly once, from any thread, perhaps before the call returns. One log line a request is
  // written. Never null.
  std::shared_ptr<CallHandle> Infer(InferRequest request, InferCallback done);
  std::shared_ptr<CallHandle> Denoise(DenoiseRequest request,
                                      std::shared_ptr<DenoiseListener> listener);
  // One step of a loop; steps taken one by one give the bits of the loop.
  std::shared_ptr<CallHandle> Step(StepRequest request, StepCallback done);
  // What each operator of a forward takes.
  std::shared_ptr<CallHandle> Profile(ProfileRequest request, ProfileCallback done);
  // Counts and logs a request that the wire's own checks refused; `kind`: "infer", "denoise" or
  // "step".
  void Refused(std::string_view kind, const RequestHead& head, const Status& status);

  std::vector<ModelInfo> ListModels() const;  // in the config's order; those that serve
  StatusOr<ModelInfo> Model(std::string_view name, std::string_view version) const;
  StatusOr<ModelDescription> DescribeModel(std::string_view name) const;
  ServerStats Stats() const;
  const Settings& settings() const;

  // Not ready from now on, new requests are UNAVAILABLE. Waits until the admitted ones have ended,
  // at most `seconds`, then cancels the rest and waits for them. True if none had to be cancelled.
  bool Drain(double seconds);

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace unetd
