// The mask of one layer, as its processor's namesake sees it.
#pragma once

#include "server/attention/attention_layer.h"
#include "server/plan/plan_builder.h"

namespace unetd {

// `mask` [1, n] as the request gives it -> what is added to the scores, [1, keys]; absent if it is.
// Where the processor sees zero and not zero alone, the result is 0 or -1e30. `queries`: the
// layer's own tokens. May add a key to `streams`, for masks that drop everything. Where diffusers
// fails, the builder fails with INVALID_ARGUMENT naming the layer, the processor and the lengths.
Value EmitLayerMask(PlanBuilder& builder, const AttentionLayer& layer, const LayerBinding& binding,
                    const Value& mask, uint64_t queries, const Value& text, Streams& streams);

}  // namespace unetd
