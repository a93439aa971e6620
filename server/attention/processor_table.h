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

// How q, k and v are made of a layer's input and of the text; one file each (plain.cc, fused.cc).
enum class Projection {
  kPlain,  // to_q, to_k, to_v
  kFused,  // to_qkv, or to_q and to_kv
};

// Where the processors of diffusers differ from each other. Bits of ProcessorRow::quirks.
enum Quirk : uint32_t {
  kScaleOfLayer = 1 << 0,        // scores times the layer's scale; else times 1 / sqrt(head_dim)
  kHonoursUpcast = 1 << 1,       // upcast_attention: scores in float32 whatever the storage
  kHonoursQkNorm = 1 << 2,       // norm_q and norm_k where a layer has them; else they are skipped
  kIgnoresSpatialNorm = 1 << 3,  // spatial_norm where a layer has it is skipped
};

enum class OptionType { kPositiveInt };

struct OptionSpec {
  std::string_view name;
  OptionType type = OptionType::kPositiveInt;
  bool required = false;
};

struct ProcessorRow {
  std::string_view name;
  Projection projection = Projection::kPlain;
  uint32_t algorithm = UNETD_ATTENTION_SDPA;
  uint32_t quirks = 0;
  std::span<const OptionSpec> options;

  bool Has(Quirk quirk) const { return (quirks & quirk) != 0; }
  const OptionSpec* FindOption(
      std::string_view option) const;  // null if it takes none of this name
};

std::span<const ProcessorRow> Processors();

// What diffusers gives a layer that no rule names.
const ProcessorRow& DefaultProcessor();

// The row, or INVALID_ARGUMENT: a processor of diffusers that is not built, or an unknown name with
// the nearest one.
StatusOr<const ProcessorRow*> FindProcessor(std::string_view name);

// "math", "sdpa", "sliced", "memory_efficient" or "npu".
std::string_view AlgorithmName(uint32_t algorithm);

}  // namespace unetd
