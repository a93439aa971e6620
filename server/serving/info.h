// What a model tells about itself: for metadata, config, ListModels, DescribeModel and --check.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "server/tensor/tensor.h"

namespace unetd {

inline constexpr char kPlatform[] = "unetd_diffusers_unet";

struct TensorInfo {
  std::string name;
  DType dtype = DType::kFloat32;  // the one to send if in doubt; others are cast
  Shape shape;                    // with the batch; -1 where free
  bool optional = false;
};

struct VariantInfo {
  std::string name;
  double weight = 1;
  double share = 1;  // of the requests that pin none
  std::string fingerprint;
};

struct ModelInfo {
  std::string name;
  std::string version;
  std::string path;
  std::string unet_class;  // "UNet2DConditionModel"
  std::string backend;
  std::string dtype;      // "float32"
  std::string conv;       // "auto"
  std::string scheduler;  // class name; "" if it has none
  int64_t max_batch = 1;
  int64_t forward_rows = 1;  // of requests that share a forward, together; 1: they never do
  uint64_t max_queue_delay_microseconds = 0;
  std::vector<std::pair<int64_t, int64_t>> shapes;  // height, width: built before ready
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::vector<VariantInfo> variants;
  uint64_t parameters = 0;
};

// What a variant bound to a layer.
struct BoundLayer {
  std::string variant;
  std::string processor;
  std::string algorithm;
  std::string backend;
  std::string rule;     // the rule's JSON path; "default" where none matched
  std::string options;  // "slice_size=1, ..."; "" if there are none
  std::string kernel;   // the backend's words
  bool fell_back = false;
  std::vector<std::string> refusals;  // "backend: reason"
};

struct LayerInfo {
  std::string name;
  std::string kind;  // "self", "cross" or "added_kv"
  uint32_t heads = 0;
  uint32_t head_dim = 0;
  uint32_t query_dim = 0;
  uint32_t cross_dim = 0;          // 0: self-attention
  std::vector<std::string> legal;  // processors that can serve it
  std::vector<BoundLayer> bound;   // one a variant, in the config's order
};

struct PlanInfo {
  std::string variant;
  std::string shape;  // the UNet's inputs, as people read them
  uint64_t operators = 0;
  uint64_t arena_row_bytes = 0;
  uint64_t block_row_bytes = 0;                  // what a request holds a row, at one step
  uint64_t packed_bytes = 0;                     // weights that the plan refers to, shared ones too
  uint64_t copied_row_bytes = 0;                 // to other domains and back, a row and step
  std::map<std::string, uint64_t> convolutions;  // how many go by which kernel
  std::vector<std::string> lowerings;
};

struct ModelDescription {
  ModelInfo info;
  std::vector<LayerInfo> layers;
  std::vector<PlanInfo> plans;              // that were warmed
  std::vector<std::string> unused_tensors;  // of the checkpoint
  std::string config_json;                  // the UNet's config.json as it stands there
};

}  // namespace unetd
