// A processor's options: what a rule says, checked against the processor's row.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/attention/processor_table.h"
#include "server/base/status.h"
#include "server/settings/settings.h"
#include "server/tensor/dtype.h"

namespace unetd {

// Those that a processor does not take stay as they are here.
struct ProcessorOptions {
  uint32_t slice_size = 0;  // heads at a time
  uint32_t batch_size = 2;  // videos among the rows of a request

  // Custom diffusion. Unset: unsaid; a binding of a layer has train_kv, train_q_out and out_bias
  // set.
  std::optional<bool> train_kv, train_q_out, out_bias;
  std::optional<uint32_t> hidden_size, cross_attention_dim;

  std::string attention_op;  // "": null
  DType compute = DType{0};  // kFloat16 or kBFloat16; {0}: the model's
  bool mask_as_diffusers = false;

  bool operator==(const ProcessorOptions&) const = default;

  // "slice_size=1", "train_kv=true, train_q_out=false"; "" if `row` takes none. Without those that
  // change nothing (dropout) and those that are unsaid.
  std::string Text(const ProcessorRow& row) const;
};

// INVALID_ARGUMENT naming the JSON path: an option that the row does not take, a required one that
// is missing, or a bad value.
StatusOr<ProcessorOptions> ReadOptions(const ProcessorRule& rule, const ProcessorRow& row);

}  // namespace unetd
