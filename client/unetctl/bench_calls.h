// The requests that `unetctl bench` sends, over and over.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "client/unetctl/bench.h"
#include "client/unetctl/load.h"
#include "server/tensor/shape.h"

namespace unetd::unetctl {

// What is sent: one model, one shape.
struct BenchTarget {
  std::string model;
  Shape row_shape;  // [C,H,W] of the latents
};

struct BenchCalls {
  CallMaker maker;
  // UNet steps of a request, by the server's word once one was answered: Heun makes more than the
  // steps asked for.
  std::shared_ptr<std::atomic<int64_t>> steps = std::make_shared<std::atomic<int64_t>>(1);
};

// The calls of options.kind with inputs made up where none are given; each client gets a connection
// of its own. Asks the server for the model's inputs.
Outcome MakeBenchCalls(const Connection& connection, const BenchOptions& options,
                       const BenchTarget& target, BenchCalls* calls);

}  // namespace unetd::unetctl
