// Which processors can compute which layers.
#pragma once

#include <string>
#include <vector>

#include "server/attention/attention_layer.h"
#include "server/attention/processor_options.h"
#include "server/attention/processor_table.h"
#include "server/base/status.h"

namespace unetd {

// OK, or why `row` with `options` cannot compute `layer`: INVALID_ARGUMENT wherever diffusers would
// fail at run time, naming the layer.
Status CanServe(const ProcessorRow& row, const ProcessorOptions& options,
                const AttentionLayer& layer);

// Names of the processors that can compute `layer` with suitable options.
std::vector<std::string> LegalProcessors(const AttentionLayer& layer);

}  // namespace unetd
