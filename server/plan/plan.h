// Plan: a UNet of one variant at one image size as flat lists of prepared operators with fixed
// offsets. Immutable and shared; the number of rows is an argument of running it (runner.h).
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/backend/backend.h"
#include "server/plan/operator_cost.h"
#include "server/plan/packed_store.h"
#include "server/plan/plan_builder.h"

namespace unetd {

// One named input in a row's input block.
struct PlanInput {
  std::string name;
  Shape shape;  // of one row
  DType dtype = DType::kFloat32;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct PlannedOp {
  std::string layer;
  std::string text;       // the descriptor, for people
  const char* kind = "";  // "conv2d", ...
  OperatorCost cost;
  Prepared prepared;  // invalid: a copy between domains
  unetd_args args{};
  int domain = 0;    // whose arena it works in: 0 the model's, i that of Plan::foreign[i - 1]
  int32_t copy = 0;  // UNETD_COPY_TO_DOMAIN or FROM_DOMAIN, of `domain`
  uint64_t copy_bytes = 0;  // a row
};

// Another domain that some operators of a plan work in.
struct ForeignDomain {
  std::shared_ptr<Backend> backend;
  uint64_t arena_row_bytes = 0;
  uint64_t workspace_bytes = 0;

  uint64_t ArenaBytes(uint32_t rows) const { return arena_row_bytes * rows + workspace_bytes; }
};

struct Plan {
  std::shared_ptr<Backend> domain;
  DType dtype = DType::kFloat32;
  std::array<std::vector<PlannedOp>, kSectionCount> sections;
  std::vector<PlanInput> inputs;
  Shape output_shape;  // [channels, h, w] of one row, float32

  // Bytes of one row's blocks.
  uint64_t arena_row_bytes = 0;
  uint64_t input_row_bytes = 0;
  uint64_t condition_row_bytes = 0;
  uint64_t schedule_row_bytes = 0;
  uint64_t output_row_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t thread_workspace_bytes = 0;

  std::vector<ForeignDomain> foreign;
  uint64_t copied_row_bytes = 0;  // between domains, at each step

  std::vector<AttentionNote> attention;
  std::map<std::string, uint64_t> convolutions;  // how many go by which kernel
  std::vector<std::string> lowerings;            // what was decomposed and why
  std::vector<std::string> weights_used;
  std::vector<std::shared_ptr<const PackedWeight>> packed;

  const PlanInput* FindInput(const std::string& name) const;
  // What running `rows` rows takes in the domain's arena, on a gang of `threads`.
  uint64_t ArenaBytes(uint32_t rows, uint32_t threads) const;
  // What a request of `rows` rows and `steps` schedule blocks a row holds while it runs.
  uint64_t BlockBytes(uint32_t rows, uint32_t steps) const;
  // What keeping the plan costs beside packed weights.
  uint64_t CacheBytes() const;
};

struct CompileOptions {
  PackedStore* packed = nullptr;
  const unetd_gang* gang = nullptr;  // for packing; null: the caller's thread
  bool structure_only = false;  // no packing, no prepared operators: sizes, notes and errors only
};

// Lowers, prepares, packs and lays out what `builder` recorded. Errors: the builder's first one; a
// backend's refusal (kUnimplemented, with its words); kResourceExhausted from the ledger.
StatusOr<std::shared_ptr<const Plan>> Compile(PlanBuilder& builder, const CompileOptions& options);

}  // namespace unetd
