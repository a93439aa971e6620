// Edges between memory domains: an attention operator on a backend that owns another domain than
// the model's is given dense copies of q, k, v and mask there, and its result is copied back.
// Every cast and copy is an operator of the plan.
#pragma once

#include "server/plan/lowering.h"

namespace unetd {

// What `backend`, of another domain, computes for the attention `node`: dense views, in
// `node.compute` if said; a mask as bool, nonzero where the additive one is (dropped), with a row
// for all queries or, where the backend refuses that, a row a query. Its first refusal otherwise.
StatusOr<unetd_op_desc> ForeignDescriptor(const Node& node, const Backend& backend);

// `node` as `desc`, of ForeignDescriptor, and what brings its values to `backend`'s domain and
// back, in order. Adds storages to `graph`; `copied` counts the bytes of one row that cross.
std::vector<LoweredNode> CrossDomain(PlanBuilder::Graph& graph, const Node& node,
                                     const unetd_op_desc& desc,
                                     const std::shared_ptr<Backend>& backend, uint64_t& copied);

}  // namespace unetd
