// What the reference provider's files share: an operator kind as a row of functions, and one row of
// a run.
#pragma once

#include <cstdint>
#include <string>

#include "backends/api/unetd_backend.h"

namespace unetd::reference {

// One row of a run. `scratch` is this thread's, of the kind's ScratchBytes.
struct Row {
  const unetd_op_desc& desc;
  const unetd_exec& exec;
  const unetd_args& args;
  uint32_t row;
  uint8_t* scratch;
};

struct WeightShape {
  uint32_t rank = 0;  // 0: the descriptor has no such weight
  uint64_t dims[4] = {1, 1, 1, 1};
  uint64_t elements() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
};

struct Kind {
  uint32_t kind;
  const char* name;
  uint32_t arguments;  // bit a: the kind takes argument a
  // Why the descriptor is not served, or "". Views are checked before.
  std::string (*check)(const unetd_op_desc& desc);
  WeightShape (*weight)(const unetd_op_desc& desc, uint32_t weight);
  uint64_t (*scratch_bytes)(const unetd_op_desc& desc);
  // Null, or why the row cannot be computed.
  const char* (*run)(const Row& row);
};

extern const Kind kConv2d, kLinear, kGroupNorm, kLayerNorm, kAttention, kResize, kGatherRows,
    kElementwise, kLayout, kCopy, kSinusoid, kLookup;
const Kind* FindKind(uint32_t kind);  // null if unknown

inline bool Has(const unetd_op_desc& desc, uint32_t arg) { return desc.args[arg].tokens != 0; }
constexpr uint32_t Bit(uint32_t arg) { return 1u << arg; }
inline constexpr uint32_t kSources = 0xfu;  // SRC0 to SRC3

// Why the views or the dtypes of `desc` are not served, or "". `kind` says which arguments it
// takes.
std::string CheckViews(const unetd_op_desc& desc, const Kind& kind);
// Why argument `arg` is not [tokens, channels], or "".
std::string CheckShape(const unetd_op_desc& desc, uint32_t arg, uint64_t tokens, uint64_t channels);
// Why an activation is not served, or "".
std::string CheckActivation(uint32_t activation);

uint64_t SourceChannels(const unetd_op_desc& desc);  // of all segments
inline uint64_t SourceFloats(const unetd_op_desc& desc) {
  return desc.args[UNETD_ARG_SRC0].tokens * SourceChannels(desc);
}

uint8_t* Address(const Row& row, uint32_t arg, uint32_t in_row);
// The argument of row `in_row` as dense floats [tokens, channels]; planar (stride 0) is transposed.
void ReadArgument(const Row& row, uint32_t arg, uint32_t in_row, float* out, uint64_t out_stride);
// All segments of the input, concatenated: [tokens, SourceChannels].
void ReadSource(const Row& row, uint32_t in_row, float* out);
// One number of an argument of this row; `otherwise` if it is absent.
double At(const Row& row, uint32_t arg, uint64_t token, uint64_t channel, double otherwise);
void StoreDst(const Row& row, uint64_t token, uint64_t channel, double value);

// acc[0..n) += x * w[0..n), in fp64.
void AddScaled(double* acc, const float* w, double x, uint64_t n);

// dst[token, 0..n) = (act(acc + row_bias) + residual) * out_scale.
void StoreOutputs(const Row& row, uint64_t token, const double* acc, uint64_t n,
                  uint32_t activation, float out_scale);

// Packing: a weight becomes fp32 values, rounded to the descriptor's weight_dtype first.
// Convolutions are turned to [kernel_h, kernel_w, in, out] and linears to [in, out]; the rest
// stays.
int32_t PackRecipe(const unetd_op_desc& desc, const Kind& kind, uint32_t weight,
                   unetd_recipe* recipe, unetd_error* error);
int32_t Pack(const unetd_op_desc& desc, const Kind& kind, uint32_t weight,
             const unetd_weight& source, void* packed, unetd_error* error);

int32_t Answer(unetd_error* error, int32_t code, const std::string& text);

}  // namespace unetd::reference
