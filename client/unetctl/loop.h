// What Denoise and Step have in common: scheduler, guidance and the tensors of one loop.
#pragma once

#include <google/protobuf/message.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "server/base/status.h"
#include "unetd/v1/denoiser.pb.h"

namespace unetd::unetctl {

struct LoopOptions {
  std::string scheduler;  // file, folder, JSON or class name; empty: the model's own
  int32_t steps = 25;
  double guidance = 1;
  double guidance_rescale = 0;
  std::optional<double> eta;  // unsaid: the scheduler's own
  bool use_clipped_model_output = false;
  uint64_t priority = 0;
  std::map<std::string, std::string> files;  // by the request's field: noise, mask, ...
};

void AddPriorityOption(CLI::App* command, uint64_t* priority);
// Scheduler, steps, guidance and priority.
void AddLoopOptions(CLI::App* command, LoopOptions* options);
// --noise, --mask, ...: each fills the request's field of that name.
void AddLoopTensorOptions(CLI::App* command, LoopOptions* options);
// One more of these: "--latents" fills the field `latents`.
void AddLoopTensorOption(CLI::App* command, LoopOptions* options, const std::string& field,
                         const std::string& help);

// The options with their files read.
struct Loop {
  std::string scheduler_json;
  int32_t steps = 25;
  double guidance = 1;
  double guidance_rescale = 0;
  std::optional<double> eta;
  bool use_clipped_model_output = false;
  uint64_t priority = 0;
  std::map<std::string, v1::Tensor> tensors;  // by field; rows of all requests together

  bool guided() const { return guidance > 1; }
  bool Has(const std::string& field) const { return tensors.contains(field); }
};
StatusOr<Loop> LoadLoop(const LoopOptions& options);

// A scheduler's JSON: a file of it, a folder with scheduler_config.json, the JSON itself, or a
// class name such as EulerDiscreteScheduler, which keeps all else of the model's own scheduler.
StatusOr<std::string> SchedulerJson(const std::string& text);

// The rows of one request among those of all.
struct RowRange {
  int64_t first = 0;
  int64_t count = 1;
  int64_t total = 1;
};

// These rows of a tensor whose rows are the first dimension, or the second of one with five (a
// tensor a step). A tensor of one row serves every row. INVALID_ARGUMENT names the tensor.
StatusOr<v1::Tensor> RowsOf(const v1::Tensor& tensor, const RowRange& range);

// Fills the fields that the two requests share, and the tensors by their field names.
Status FillTensors(const Loop& loop, const RowRange& range, google::protobuf::Message& request);

template <typename Request>
Status FillLoop(const Loop& loop, const RowRange& range, Request& request) {
  request.set_scheduler_json(loop.scheduler_json);
  request.set_num_inference_steps(loop.steps);
  request.set_guidance_scale(loop.guidance);
  request.set_guidance_rescale(loop.guidance_rescale);
  if (loop.eta) request.set_eta(*loop.eta);
  request.set_use_clipped_model_output(loop.use_clipped_model_output);
  request.set_priority(loop.priority);
  return FillTensors(loop, range, request);
}

}  // namespace unetd::unetctl
