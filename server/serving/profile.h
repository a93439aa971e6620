// Profile: what is asked of it and what it tells. Plain structs, no wire format.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/serving/request.h"

namespace unetd {

// Forwards over noise, in turn a plain one and one with a clock beside each operator. They wait and
// are stopped as any request's, but share no forward and are no inferences to the statistics. An
// empty `variant` is the model's first.
struct ProfileRequest : RequestHead {
  int64_t rows = 0;    // 0: 1
  int64_t height = 0;  // of the latent, with width; 0 and 0: the model's first size
  int64_t width = 0;
  int64_t repeats = 0;  // forwards of each sort; 0: 5
};

// One operator of a forward of so many rows.
struct ProfiledOperator {
  std::string layer;    // its diffusers path; "": it belongs to none
  std::string text;     // "conv2d 3x3 stride 1 4 -> 320 at 64x64"
  std::string kind;     // "conv2d"
  std::string backend;  // which ran it
  std::string kernel;   // the backend's words
  std::string section;  // "condition", "schedule" or "step"
  double ms = 0;        // median
  uint64_t calls = 0;
  uint64_t flops = 0;  // operator_cost.h tells of these two
  uint64_t bytes = 0;
};

struct ProfileResult {
  std::string model;
  std::string variant;
  std::string shape;  // the inputs, as people read them
  uint32_t rows = 0;
  uint32_t height = 0;
  uint32_t width = 0;
  uint32_t repeats = 0;
  uint32_t threads = 0;                     // of the memory domain
  std::string cpu;                          // the CPU's model
  double forward_ms = 0;                    // median of the plain forwards, all three sections
  std::vector<ProfiledOperator> operators;  // in the order of the forward
};

using ProfileCallback = std::function<void(StatusOr<ProfileResult>)>;

}  // namespace unetd
