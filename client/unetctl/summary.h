// What a tensor holds, in a few numbers.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/shape.h"
#include "unetd/v1/tensor.pb.h"

namespace unetd::unetctl {

// min to std are of the finite elements; NaN if there are none.
struct TensorSummary {
  std::string name;
  std::string datatype;  // the wire's word
  Shape shape;
  double min = 0;
  double mean = 0;
  double max = 0;
  double std = 0;  // of the population
  uint64_t nan = 0;
  uint64_t infinite = 0;
};

// INVALID_ARGUMENT if datatype, shape and bytes disagree.
StatusOr<TensorSummary> Summarize(const v1::Tensor& tensor);
StatusOr<std::vector<TensorSummary>> SummarizeAll(std::span<const v1::Tensor> tensors);

std::string SummaryText(std::span<const TensorSummary> summaries);

// Keys name, datatype, shape, min, mean, max, std (null if there is none), nan, inf.
nlohmann::ordered_json SummaryJson(std::span<const TensorSummary> summaries);

// As one line, whatever bytes its strings hold.
std::string JsonLine(const nlohmann::ordered_json& json);

}  // namespace unetd::unetctl
