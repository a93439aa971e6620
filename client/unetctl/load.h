// A closed loop of clients: each sends its next request when the one before is answered.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace unetd::unetctl {

// Sends one request and waits for its answer.
using Call = std::function<grpc::Status(grpc::ClientContext& context)>;
// Makes a client's call, with a connection of its own.
using CallMaker = std::function<Call()>;

struct LoadPlan {
  int64_t clients = 1;
  int64_t requests = 0;   // of all clients together; 0: as many as start within duration_s
  double duration_s = 0;  // what has started by then is waited for and counts
  double timeout_s = 0;   // of each request; 0: none
};

struct LoadResult {
  std::vector<double> ms;  // of each request that succeeded, in no order
  int64_t errors = 0;
  std::string first_error;  // "CODE: message"
  double seconds = 0;       // from the first request to the last answer
};

// Runs until the plan is done or Interrupted(); then what is under way is cancelled and counts
// neither as done nor as an error. `tick` is called now and then from this thread with the requests
// answered and the seconds that passed. After an error a client rests a moment.
LoadResult RunLoad(const LoadPlan& plan, const CallMaker& maker,
                   const std::function<void(int64_t answered, double seconds)>& tick);

}  // namespace unetd::unetctl
