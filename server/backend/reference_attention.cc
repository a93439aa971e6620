// The reference provider's attention: the mathematics of every algorithm is the same, so one loop
// serves them all.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/backend/reference_numbers.h"
#include "server/backend/reference_op.h"
#include "server/base/text.h"

namespace unetd::reference {
namespace {

std::string CheckAttention(const unetd_op_desc& desc) {
  const unetd_attention& attention = desc.u.attention;
  if (attention.algorithm < UNETD_ATTENTION_MATH ||
      attention.algorithm > UNETD_ATTENTION_MEMORY_EFFICIENT) {
    return attention.algorithm == UNETD_ATTENTION_NPU
               ? "the npu algorithm is served by npu backends only"
               : Format("attention algorithm {} is unknown", attention.algorithm);
  }
  if (attention.algorithm == UNETD_ATTENTION_SLICED && attention.slice_size == 0) {
    return "sliced attention needs a slice_size of 1 or more";
  }
  if (attention.upcast_scores > 1 || attention.bool_mask > 1) {
    return "upcast_scores and bool_mask must be 0 or 1";
  }
  if (std::memchr(attention.op, 0, sizeof(attention.op)) == nullptr) return "op is not terminated";
  if (!std::isfinite(attention.scale)) return "scale is not finite";
  const uint64_t channels = uint64_t{attention.heads} * attention.head_dim;
  if (channels == 0) return "heads or head_dim is 0";
  if (!Has(desc, UNETD_ARG_KEY) || !Has(desc, UNETD_ARG_VALUE)) return "key or value is missing";
  if (SourceChannels(desc) != channels) {
    return Format("src has {} channels, expected {} heads of {}", SourceChannels(desc),
                  attention.heads, attention.head_dim);
  }
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  if (std::string why = CheckShape(desc, UNETD_ARG_KEY, keys, channels); !why.empty()) return why;
  if (std::string why = CheckShape(desc, UNETD_ARG_VALUE, keys, channels); !why.empty()) return why;
  if (std::string why = CheckShape(desc, UNETD_ARG_DST, queries, channels); !why.empty())
    return why;
  if (!Has(desc, UNETD_ARG_MASK)) return "";
  if (desc.args[UNETD_ARG_MASK].dtype != UNETD_DTYPE_F32) return "mask must be float32";
  const bool shared = desc.args[UNETD_ARG_MASK].tokens == 1;
  return CheckShape(desc, UNETD_ARG_MASK, shared ? 1 : queries, keys);
}

WeightShape NoWeight(const unetd_op_desc&, uint32_t) { return {}; }

// Scores of one query, then one head's output, then dense query, key and value.
uint64_t AttentionScratch(const unetd_op_desc& desc) {
  const uint64_t channels = SourceChannels(desc);
  const uint64_t keys = desc.args[UNETD_ARG_KEY].tokens;
  return (keys + desc.u.attention.head_dim) * sizeof(double) +
         (SourceFloats(desc) + 2 * keys * channels) * sizeof(float);
}

const char* RunAttention(const Row& row) {
  const unetd_attention& attention = row.desc.u.attention;
  const uint64_t channels = SourceChannels(row.desc);
  const uint64_t queries = row.desc.args[UNETD_ARG_SRC0].tokens;
  const uint64_t keys = row.desc.args[UNETD_ARG_KEY].tokens;
  const uint64_t head_dim = attention.head_dim;
  const bool shared_mask = row.desc.args[UNETD_ARG_MASK].tokens == 1;
  auto* scores = reinterpret_cast<double*>(row.scratch);
  double* output = scores + keys;
  auto* query = reinterpret_cast<float*>(output + head_dim);
  float* key = query + queries * channels;
  float* value = key + keys * channels;
  ReadSource(row, row.row, query);
  ReadArgument(row, UNETD_ARG_KEY, row.row, key, channels);
  ReadArgument(row, UNETD_ARG_VALUE, row.row, value, channels);
  for (uint64_t head = 0; head < attention.heads; ++head) {
    const uint64_t first = head * head_dim;
    for (uint64_t q = 0; q < queries; ++q) {
      for (uint64_t k = 0; k < keys; ++k) {
        double dot = 0.0;
        for (uint64_t d = 0; d < head_dim; ++d) {
          dot +=
              static_cast<double>(query[q * channels + first + d]) * key[k * channels + first + d];
        }
        scores[k] = dot * attention.scale + At(row, UNETD_ARG_MASK, shared_mask ? 0 : q, k, 0.0);
      }
      const double largest = *std::max_element(scores, scores + keys);
      double sum = 0.0;
      for (uint64_t k = 0; k < keys; ++k) sum += scores[k] = std::exp(scores[k] - largest);
      std::fill(output, output + head_dim, 0.0);
      for (uint64_t k = 0; k < keys; ++k)
        AddScaled(output, value + k * channels + first, scores[k], head_dim);
      for (uint64_t d = 0; d < head_dim; ++d) StoreDst(row, q, first + d, output[d] / sum);
    }
  }
  return nullptr;
}

}  // namespace

const Kind kAttention = {
    UNETD_OP_ATTENTION,
    "attention",
    kSources | Bit(UNETD_ARG_KEY) | Bit(UNETD_ARG_VALUE) | Bit(UNETD_ARG_MASK) | Bit(UNETD_ARG_DST),
    CheckAttention,
    NoWeight,
    AttentionScratch,
    RunAttention};

}  // namespace unetd::reference
