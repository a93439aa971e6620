// What a request's number of rows must be for the processors that see more than one row.
#pragma once

#include <cstdint>

#include "server/attention/binding.h"
#include "server/base/status.h"

namespace unetd {

// `rows` run together as one group; `self_mask` and `text_mask`: the request masks the keys of
// attn1 or of attn2. INVALID_ARGUMENT naming sample's batch, the layer and what it splits the rows
// by, where diffusers fails.
Status CheckRowGroup(const VariantBindings& bindings, uint32_t rows, bool self_mask,
                     bool text_mask);

}  // namespace unetd
