// `unetctl predict`: one forward pass of the UNet.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/inputs.h"
#include "inference/grpc_service.pb.h"

namespace unetd::unetctl {

struct PredictOptions {
  std::string model;    // empty: the server's only one
  std::string variant;  // empty: the server chooses
  std::string id;
  InputOptions inputs;
  PromptOptions prompts;
  std::optional<double> timestep;
  uint64_t priority = 0;  // 0: the model's default
  std::string out;        // file; empty: none
  bool json = false;
};

void AddPredictOptions(CLI::App* command, PredictOptions* options);

Outcome Predict(const Connection& connection, const PredictOptions& options);

// The request of one forward, its tensors in `inputs`' order. An empty variant lets the server
// choose, priority 0 is the model's default.
inference::ModelInferRequest MakeInferRequest(const std::string& model, const std::string& variant,
                                              uint64_t priority, const TensorMap& inputs);

// The only output of an answer, its bytes moved out. INTERNAL if there is another number of them.
StatusOr<v1::Tensor> TakeOutput(inference::ModelInferResponse& response);

}  // namespace unetd::unetctl
