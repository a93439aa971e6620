#include "tests/npu/emulator/attention_kernel.h"

#include <algorithm>
#include <cctype>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "server/tensor/half.h"

namespace unetd::cann_emulator {
namespace {

uint64_t ElementBytes(aclDataType type) {
  switch (type) {
    case ACL_FLOAT:
      return 4;
    case ACL_FLOAT16:
    case ACL_BF16:
      return 2;
    default:
      return 1;
  }
}

// The bytes of a tensor's view, from its first element; null if they are not all on the device.
uint8_t* Bytes(const aclTensor& tensor) {
  const uint64_t size = ElementBytes(tensor.type);
  uint64_t span = 1;
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    span += static_cast<uint64_t>((tensor.dims[i] - 1) * tensor.strides[i]);
  }
  const auto* first =
      static_cast<const uint8_t*>(tensor.data) + static_cast<uint64_t>(tensor.offset) * size;
  return DeviceBytes(first, span * size);
}

float Load(aclDataType type, const uint8_t* bytes, int64_t index) {
  if (type == ACL_FLOAT) {
    float value;
    std::memcpy(&value, bytes + index * 4, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, bytes + index * 2, 2);
  return type == ACL_FLOAT16 ? SoftHalfToFloat(half)
                             : std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
}

void Store(aclDataType type, uint8_t* bytes, int64_t index, float value) {
  if (type == ACL_FLOAT) {
    std::memcpy(bytes + index * 4, &value, 4);
    return;
  }
  uint16_t half;
  if (type == ACL_FLOAT16) {
    half = SoftFloatToHalf(value);
  } else {
    const auto bits = std::bit_cast<uint32_t>(value);
    half = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
  std::memcpy(bytes + index * 2, &half, 2);
}

int64_t IndexOf(const Stream4& stream, int64_t batch, int64_t head, int64_t token, int64_t d) {
  const auto& s = stream.strides;
  return batch * s[0] + head * s[1] + token * s[2] + d * s[3];
}

// [tokens, head_dim] of one head.
std::vector<float> Dense(const Stream4& stream, const uint8_t* bytes, int64_t batch, int64_t head) {
  std::vector<float> values;
  values.reserve(static_cast<size_t>(stream.tokens * stream.head_dim));
  for (int64_t token = 0; token < stream.tokens; ++token) {
    for (int64_t d = 0; d < stream.head_dim; ++d) {
      values.push_back(Load(stream.tensor.type, bytes, IndexOf(stream, batch, head, token, d)));
    }
  }
  return values;
}

void Poison(const AttentionCall& call, uint8_t* out) {
  const Stream4& o = call.out;
  for (int64_t batch = 0; batch < o.batch; ++batch) {
    for (int64_t head = 0; head < o.heads; ++head) {
      for (int64_t token = 0; token < o.tokens; ++token) {
        for (int64_t d = 0; d < o.head_dim; ++d) {
          Store(o.tensor.type, out, IndexOf(o, batch, head, token, d), NAN);
        }
      }
    }
  }
}

}  // namespace

std::string Stream4::Read(const aclTensor& source, const std::string& layout) {
  if (layout != "BNSD" && layout != "BSND") return "layout " + layout + " is not emulated";
  if (source.dims.size() != 4) return "expected 4 axes";
  if (source.type != ACL_FLOAT16 && source.type != ACL_BF16 && source.type != ACL_FLOAT) {
    return "expected FLOAT16, BFLOAT16 or FLOAT";
  }
  const size_t head_axis = layout == "BNSD" ? 1 : 2;
  const size_t token_axis = 3 - head_axis;
  tensor = source;
  batch = source.dims[0];
  heads = source.dims[head_axis];
  tokens = source.dims[token_axis];
  head_dim = source.dims[3];
  strides = {source.strides[0], source.strides[head_axis], source.strides[token_axis],
             source.strides[3]};
  constexpr int64_t kMostTokens = 1 << 20;
  if (batch < 1 || heads < 1 || heads > 256 || tokens < 1 || tokens > kMostTokens || head_dim < 1) {
    return "a size is out of range";
  }
  return "";
}

uint64_t AttentionCall::WorkspaceBytes() const {
  const uint64_t scores = static_cast<uint64_t>(key.tokens) * sizeof(float);
  return (scores + 511) / 512 * 512 + ExtraWorkspace();
}

bool IsMask(const aclTensor& mask, int64_t queries, int64_t keys) {
  const size_t rank = mask.dims.size();
  if (mask.type != ACL_BOOL && mask.type != ACL_UINT8) return false;
  if (rank < 2 || mask.dims[rank - 2] != queries || mask.dims[rank - 1] != keys) return false;
  return std::all_of(mask.dims.begin(), mask.dims.end() - 2, [](int64_t dim) { return dim == 1; });
}

bool IsDense(const aclTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = tensor.dims.size(); i-- > 0;) {
    if (tensor.dims[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.dims[i];
  }
  return true;
}

std::string Upper(const char* layout) {
  std::string text = layout;
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

int RunAttention(const AttentionCall& call, uint8_t* workspace) {
  const uint8_t* query_bytes = Bytes(call.query.tensor);
  const uint8_t* key_bytes = Bytes(call.key.tensor);
  const uint8_t* value_bytes = Bytes(call.value.tensor);
  uint8_t* out = Bytes(call.out.tensor);
  const uint8_t* mask = call.has_mask ? Bytes(call.mask) : nullptr;
  uint8_t* maxima = call.has_softmax ? Bytes(call.softmax_max) : nullptr;
  uint8_t* sums = call.has_softmax ? Bytes(call.softmax_sum) : nullptr;
  if (query_bytes == nullptr || key_bytes == nullptr || value_bytes == nullptr || out == nullptr ||
      (call.has_mask && mask == nullptr) ||
      (call.has_softmax && (maxima == nullptr || sums == nullptr))) {
    return kKernelFault;
  }
  Poison(call, out);
  const int64_t queries = call.query.tokens;
  const int64_t keys = call.key.tokens;
  const int64_t head_dim = call.query.head_dim;
  auto* scores = reinterpret_cast<float*>(workspace);
  for (int64_t batch = 0; batch < call.query.batch; ++batch) {
    for (int64_t head = 0; head < call.query.heads; ++head) {
      const std::vector<float> q = Dense(call.query, query_bytes, batch, head);
      const std::vector<float> k = Dense(call.key, key_bytes, batch, head);
      const std::vector<float> v = Dense(call.value, value_bytes, batch, head);
      for (int64_t i = 0; i < queries; ++i) {
        float largest = -FLT_MAX;
        for (int64_t j = 0; j < keys; ++j) {
          float dot = 0;
          for (int64_t d = 0; d < head_dim; ++d) dot += q[i * head_dim + d] * k[j * head_dim + d];
          scores[j] = dot * static_cast<float>(call.scale);
          if (call.has_mask) {
            const size_t rank = call.mask.strides.size();
            const uint8_t masked =
                mask[i * call.mask.strides[rank - 2] + j * call.mask.strides[rank - 1]];
            const bool inside = i - call.pre_tokens <= j && j <= i + call.next_tokens;
            // Not infinite: a query of which every key is masked gets their mean.
            if (masked != 0 || !inside) scores[j] = -FLT_MAX;
          }
          largest = std::max(largest, scores[j]);
        }
        float sum = 0;
        std::vector<float> result(static_cast<size_t>(head_dim));
        for (int64_t j = 0; j < keys; ++j) {
          const float weight = std::exp(scores[j] - largest);
          sum += weight;
          for (int64_t d = 0; d < head_dim; ++d) result[d] += weight * v[j * head_dim + d];
        }
        for (int64_t d = 0; d < head_dim; ++d) {
          Store(call.out.tensor.type, out, IndexOf(call.out, batch, head, i, d), result[d] / sum);
        }
        for (int64_t column = 0; call.has_softmax && column < 8; ++column) {
          const int64_t at = ((batch * call.query.heads + head) * queries + i) * 8 + column;
          Store(ACL_FLOAT, maxima, at, largest);
          Store(ACL_FLOAT, sums, at, sum);
        }
      }
    }
  }
  return 0;
}

}  // namespace unetd::cann_emulator
