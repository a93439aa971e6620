// The recorded operators of a PlanBuilder: what Compile lowers, lays out and prepares.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "server/plan/plan_builder.h"

namespace unetd {

enum class StorageKind { kResult, kInput, kTime, kOutput };

// One buffer of a row: tokens x channels (channels-last), or planar for what the request sends and
// gets.
struct Storage {
  StorageKind kind = StorageKind::kResult;
  uint64_t tokens = 0;
  uint32_t channels = 0;
  DType dtype = DType::kFloat32;
  Section section = Section::kStep;  // where it is written
  int domain = 0;                    // 0: the model's; i: of Graph::foreign[i - 1]
  uint64_t bytes() const { return tokens * channels * DTypeSize(dtype); }
};

// Where an argument of a node begins: an element of the storage.
struct NodeOperand {
  int storage = -1;
  uint64_t first = 0;
};

struct NodeWeight {
  uint32_t index = 0;  // among the descriptor's weights
  WeightRef ref;
};

struct Node {
  unetd_op_desc desc{};
  std::array<NodeOperand, UNETD_ARG_COUNT> operands;
  std::vector<NodeWeight> weights;
  void UseWeight(uint32_t index, const WeightRef& ref) { weights.push_back({index, ref}); }
  Section section = Section::kStep;
  std::string layer;
  // Attention only: who is asked, in order, and whether the model's backend may serve it by kSdpa
  // instead.
  std::vector<std::shared_ptr<Backend>> backends;
  bool fallback_to_sdpa = false;
  DType compute = DType{0};  // at another domain's edge; {0}: as stored
};

struct NamedInput {
  std::string name;
  Shape shape;
  int storage = -1;
};

struct PlanBuilder::Graph {
  Context context;
  std::vector<Storage> storages;
  std::vector<Node> nodes;
  std::vector<NamedInput> inputs;
  std::vector<std::string> weights_used;
  std::vector<std::shared_ptr<Backend>> foreign;  // whose domains attention was lowered to
  int output_storage = -1;
  Shape output_shape;
  std::string layer;
  Status status;

  int AddStorage(Storage storage) {
    storages.push_back(storage);
    return static_cast<int>(storages.size()) - 1;
  }
  // A fresh channels-last value of `section`, written by the node that is added next.
  Value NewValue(Size size, uint32_t channels, DType dtype, Section section);
  // Binds `value`'s first slice to argument `arg` of `node`, and the view with it.
  void Bind(Node& node, int arg, const Value& value) const;
  // The tensor behind `ref` has `shape` or, where `ones`, that with more or fewer 1s in it; else
  // the graph has failed.
  bool CheckWeight(const WeightRef& ref, const Shape& shape, bool ones = false);
  // Adds `node`, writing a new value of `channels` at `size`, and returns that value.
  Value Finish(Node node, Size size, uint32_t channels, DType dtype);
  // Binds all of x's slices as source segments.
  void BindSegments(Node& node, const Value& x) const;
  // A node of `kind` with the model's dtypes, in the section that follows from `inputs`.
  Node NewNode(uint32_t kind, std::initializer_list<const Value*> inputs) const;
};

// One line on a descriptor: "conv2d 3x3 320 -> 640 at 32x32", for people.
std::string DescriptorText(const unetd_op_desc& desc);
const char* OpKindName(uint32_t kind);

}  // namespace unetd
