#include "client/unetctl/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "client/unetctl/table.h"
#include "client/unetctl/tensor_file.h"
#include "server/base/text.h"
#include "server/tensor/convert.h"

namespace unetd::unetctl {

StatusOr<TensorSummary> Summarize(const v1::Tensor& tensor) {
  ASSIGN_OR_RETURN(const Tensor aligned, FromWire(tensor));
  ASSIGN_OR_RETURN(const Tensor doubles, ConvertedTo(aligned.View(), DType::kFloat64));
  TensorSummary summary;
  summary.name = tensor.name();
  summary.datatype = tensor.datatype();
  summary.shape = aligned.shape();
  const std::span<const double> values(doubles.as<double>(), doubles.elements());
  double sum = 0;
  uint64_t finite = 0;
  summary.min = std::numeric_limits<double>::infinity();
  summary.max = -summary.min;
  for (const double value : values) {
    if (std::isnan(value)) {
      ++summary.nan;
    } else if (std::isinf(value)) {
      ++summary.infinite;
    } else {
      ++finite;
      sum += value;
      summary.min = std::min(summary.min, value);
      summary.max = std::max(summary.max, value);
    }
  }
  if (finite == 0) {
    summary.min = summary.mean = summary.max = summary.std = std::nan("");
    return summary;
  }
  summary.mean = sum / static_cast<double>(finite);
  double squares = 0;  // of the distances: a second pass keeps digits that sums of squares lose
  for (const double value : values) {
    if (std::isfinite(value)) squares += (value - summary.mean) * (value - summary.mean);
  }
  summary.std = std::sqrt(squares / static_cast<double>(finite));
  return summary;
}

StatusOr<std::vector<TensorSummary>> SummarizeAll(std::span<const v1::Tensor> tensors) {
  std::vector<TensorSummary> summaries;
  for (const v1::Tensor& tensor : tensors) {
    ASSIGN_OR_RETURN(TensorSummary summary, Summarize(tensor));
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

std::string SummaryText(std::span<const TensorSummary> summaries) {
  Table table({{"tensor", false},
               {"datatype", false},
               {"shape", false},
               {"min", true},
               {"mean", true},
               {"max", true},
               {"std", true},
               {"NaN", true},
               {"inf", true}});
  for (const TensorSummary& summary : summaries) {
    table.AddRow({summary.name, summary.datatype, ShapeText(summary.shape),
                  Format("{:.5g}", summary.min), Format("{:.5g}", summary.mean),
                  Format("{:.5g}", summary.max), Format("{:.5g}", summary.std),
                  Format("{}", summary.nan), Format("{}", summary.infinite)});
  }
  return table.Text();
}

nlohmann::ordered_json SummaryJson(std::span<const TensorSummary> summaries) {
  auto list = nlohmann::ordered_json::array();
  for (const TensorSummary& summary : summaries) {
    nlohmann::ordered_json row;
    row["name"] = summary.name;
    row["datatype"] = summary.datatype;
    row["shape"] = summary.shape;
    row["min"] = summary.min;  // a NaN is dumped as null
    row["mean"] = summary.mean;
    row["max"] = summary.max;
    row["std"] = summary.std;
    row["nan"] = summary.nan;
    row["inf"] = summary.infinite;
    list.push_back(std::move(row));
  }
  return list;
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace unetd::unetctl
