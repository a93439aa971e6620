// Lowering: from recorded nodes to nodes that a backend has accepted. The most fused descriptor is
// asked first; what is refused is decomposed in one documented order:
//   1. source segments  -> an elementwise copy that concatenates them
//   2. resize of a conv -> a resize of its own
//   3. residual         -> an elementwise add
// What is refused even then is an error with the backend's words. Each decomposition is noted, and
// so is each edge to another domain (domain_edges.h).
#pragma once

#include <string>
#include <vector>

#include "server/plan/graph.h"

namespace unetd {

// `backend` runs the node; of a copy between domains it is the one whose domain is not the model's.
struct LoweredNode {
  Node node;
  std::shared_ptr<Backend> backend;
};

struct Lowered {
  std::vector<LoweredNode> nodes;
  std::vector<AttentionNote> attention;
  std::vector<std::string> notes;
  uint64_t copied_row_bytes = 0;  // between domains, a row and step
};

// May add storages to `graph`.
StatusOr<Lowered> Lower(PlanBuilder::Graph& graph);

}  // namespace unetd
