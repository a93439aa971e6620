// Denoising: one variant over a list of prompts, in groups that the server takes as one request
// each.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/unetctl/channel.h"
#include "client/unetctl/conditions.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/inputs.h"
#include "client/unetctl/loop.h"
#include "server/tensor/shape.h"

namespace unetd::unetctl {

// What is asked of the server, whatever the variant.
struct Job {
  std::string model;
  std::string id;                    // the same for every group, so that all get one variant
  std::vector<std::string> prompts;  // one a row
  std::string negative;              // prompt of the rows without a prompt; empty: none
  TensorMap inputs;                  // beside the prompts; rows as RowsOf has them
  TensorMap negative_inputs;         // those that differ for the rows without the prompt
  Shape row_shape;                   // [C,H,W]
  int64_t max_rows = 1;              // of one request
  int64_t seed = 0;                  // row i draws its noise from seed + i
  Loop loop;
  int32_t start_step = 0;
  int32_t end_step = 0;  // 0: to the last
  int32_t preview_every = 0;
};

// What a variant made of it.
struct VariantRun {
  std::string variant;         // which ran, by the server's word
  std::vector<float> samples;  // [prompts, row_shape...]
  int64_t requests = 0;
  int64_t steps = 0;        // that one request runs
  double step_ms = 0;       // of all steps of all requests, by the server's clock
  double seconds = 0;       // from the first request to the last answer, by ours
  uint64_t plan_bytes = 0;  // largest of the requests

  // Milliseconds that it takes to bring every row one step further.
  double MillisecondsPerStep() const {
    return steps > 0 ? step_ms / static_cast<double>(steps) : 0;
  }
};

// The pictures of one request on the way, as the model predicts them.
struct PreviewRows {
  int64_t step = 0;  // the step just done, from 0
  size_t first = 0;  // which of the job's prompts they begin with
  size_t rows = 0;
  std::vector<float> samples;  // [rows, row_shape...]
};

// Told of every request's acceptance (with the variant), of every step (with the steps that its
// request runs, 0 if the server does not say) and of every preview, which may fail and end the run.
struct RunObserver {
  std::function<void(const std::string& variant)> accepted;
  std::function<void(int64_t total)> step;
  std::function<Status(const PreviewRows& preview)> preview;
};

// `conditions` may be null: then no input comes of prompts. `variant`: empty lets the server
// choose.
Outcome RunVariant(const Connection& connection, const Job& job, const Conditions* conditions,
                   const std::string& variant, const RunObserver& observer, VariantRun* run);

// Requests of a run.
int64_t RequestsInAll(const Job& job);
// Steps of one request, as far as the command line tells: some schedulers run more.
int64_t StepsOfRequest(const Job& job);
int64_t StepsInAll(const Job& job);

}  // namespace unetd::unetctl
