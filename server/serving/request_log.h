// One log line a request.
#pragma once

#include <string>
#include <string_view>

#include "server/base/status.h"
#include "server/serving/job.h"

namespace unetd {

std::string_view CodeName(Code code);  // "OK", "INVALID_ARGUMENT", ...

struct RequestLine {
  std::string_view kind;  // "infer", "denoise", "step"
  std::string_view id;
  std::string_view model;
  std::string_view variant;
  std::string shape;  // "2x 64x64 text=77"; "" if it was refused before that was known
  int64_t steps = 0;  // of a denoising loop
};

// At level info; at error if the server is to blame.
void LogRequest(const RequestLine& line, const Status& status, const JobTimes& times);

}  // namespace unetd
