// The attention processors as data: one row a processor, by its diffusers name. What a row does not
// say, it does not change: layers, weights and masks are the UNet's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backends/api/unetd_backend.h"
#include "server/base/status.h"

namespace unetd {

// How q, k and v are made of a layer's input and of the text; one file each (plain.cc, fused.cc,
// ...).
enum class Projection {
  kPlain,            // to_q, to_k, to_v
  kFused,            // to_qkv, or to_q and to_kv
  kAddedKv,          // add_k_proj and add_v_proj of the text, before to_k and to_v of the input
  kCrossFrame,       // plain, with the keys and values of each video's first frame
  kCustomDiffusion,  // plain, with trained projections from a file
};

// Where the processors of diffusers differ from each other. Bits of ProcessorRow::quirks.
enum Quirk : uint32_t {
  kScaleOfLayer = 1 << 0,        // scores times the layer's scale; else times 1 / sqrt(head_dim)
  kHonoursUpcast = 1 << 1,       // upcast_attention and upcast_softmax: scores in float32
  kHonoursQkNorm = 1 << 2,       // norm_q and norm_k where a layer has them; else they are skipped
  kIgnoresSpatialNorm = 1 << 3,  // spatial_norm where a layer has it is skipped
  kOnlySequences = 1 << 4,       // fails on an image [B, C, H, W], as some blocks hand to a layer
  kMaskOfImage = 1 << 5,         // a mask is expected to have one value a pixel, or is padded so
  kMaskNotExpanded = 1 << 6,     // the mask of one query fails unless there is only one
  kMaskOneRow = 1 << 7,          // a mask fails unless there is only one row
  kMaskIsBool = 1 << 8,          // of a mask only zero (keep) and not zero (drop) are seen
  kAnyRows = 1 << 9,             // fewer rows than batch_size are one frame each; else they fail
  kTrainsQOut = 1 << 10,         // train_q_out is true where neither rule nor file says it
};

enum class Option {
  kSliceSize,
  kBatchSize,
  kTrainKv,
  kTrainQOut,
  kHiddenSize,
  kCrossAttentionDim,
  kOutBias,
  kDropout,
  kAttentionOp,
  kCompute,
  kMask,
};

enum class OptionType {
  kPositiveInt,  // 1 to 2^32 - 1
  kBool,
  kFraction,  // 0 to 1
  kText,      // at most 63 characters
  kChoice,    // one of `choices`
};

struct OptionSpec {
  Option option;
  std::string_view name;
  OptionType type = OptionType::kPositiveInt;
  bool required = false;
  std::string_view fallback;  // what stands where it is unsaid, for people
  std::string_view meaning;   // one line
  bool nullable = false;      // null is as unsaid
  std::span<const std::string_view> choices = {};
};

struct ProcessorRow {
  std::string_view name;
  Projection projection = Projection::kPlain;
  uint32_t algorithm = UNETD_ATTENTION_SDPA;
  uint32_t quirks = 0;
  std::span<const OptionSpec> options;
  std::string_view summary;  // one line: what it is, and when to pick it

  bool Has(Quirk quirk) const { return (quirks & quirk) != 0; }
  bool TakesWeights() const { return projection == Projection::kCustomDiffusion; }
  // Null if it takes none of this name.
  const OptionSpec* FindOption(std::string_view option) const;
};

std::span<const ProcessorRow> Processors();

// What diffusers gives a layer that no rule names, with and without added keys and values.
const ProcessorRow& DefaultProcessor(bool added_kv);

// The row, or INVALID_ARGUMENT: a processor of diffusers that is not built, or an unknown name with
// the nearest one.
StatusOr<const ProcessorRow*> FindProcessor(std::string_view name);

// "math", "sdpa", "sliced", "memory_efficient" or "npu".
std::string_view AlgorithmName(uint32_t algorithm);
// What it needs beside q, k, v and the output, for one row: "heads * Q * K scores".
std::string_view AlgorithmMemory(uint32_t algorithm);
// "plain", "fused", "added_kv", "cross_frame" or "custom_diffusion".
std::string_view ProjectionName(Projection projection);

}  // namespace unetd
