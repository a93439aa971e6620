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
#include "server/tensor/shape.h"

namespace unetd::unetctl {

// What is asked of the server, whatever the variant.
struct Job {
  std::string model;
  std::string id;                    // the same for every group, so that all get one variant
  std::string scheduler_json;        // empty: the model's own
  std::vector<std::string> prompts;  // one a row
  std::string negative;              // prompt of the rows without a prompt; empty: none
  Shape row_shape;                   // [C,H,W]
  int64_t max_rows = 1;              // of one request
  int64_t seed = 0;                  // row i draws its noise from seed + i
  int32_t steps = 25;
  int32_t start_step = 0;
  int32_t end_step = 0;  // 0: to the last
  double guidance = 1;
  double guidance_rescale = 0;
  double eta = 0;
  bool use_clipped_model_output = false;
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

// Told of every request's acceptance (with the variant and all steps to come) and of every step.
struct RunObserver {
  std::function<void(const std::string& variant)> accepted;
  std::function<void()> step;
};

// `conditions` may be null: then the model takes none. `variant`: empty lets the server choose.
Outcome RunVariant(const Connection& connection, const Job& job, const Conditions* conditions,
                   const std::string& variant, const RunObserver& observer, VariantRun* run);

// Steps of one request, and of all.
int64_t StepsOfRequest(const Job& job);
int64_t StepsInAll(const Job& job);

}  // namespace unetd::unetctl
