#include "tests/support/operator_case.h"

#include <cmath>
#include <cstring>

#include "server/backend/reference_numbers.h"

namespace unetd::test {

uint64_t Random::Next() {  // splitmix64
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double Random::Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

float Random::Normal(double mean, double deviation) {
  double sum = -3;
  for (int i = 0; i < 6; ++i) sum += Uniform();
  return static_cast<float>(mean + deviation * std::sqrt(2.0) * sum);
}

float Rounded(int32_t dtype, float value) { return reference::RoundTo(dtype, value); }

uint64_t SizeOf(int32_t dtype) {
  return dtype == UNETD_DTYPE_I32 ? 4 : reference::FloatSize(dtype);
}

std::vector<uint8_t> Encode(int32_t dtype, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == UNETD_DTYPE_I32) {
      const auto index = static_cast<int32_t>(values[i]);
      std::memcpy(&bytes[i * 4], &index, 4);
    } else {
      reference::StoreFloat(dtype, bytes.data(), i, values[i]);
    }
  }
  return bytes;
}

std::vector<float> Decode(int32_t dtype, const std::vector<uint8_t>& bytes) {
  std::vector<float> values(bytes.size() / SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = reference::LoadFloat(dtype, bytes.data(), i);
  return values;
}

std::vector<float> OperatorCase::Input(uint32_t arg, uint32_t row) const {
  const unetd_view& view = desc.args[arg];
  if (auto it = fill.find(arg); it != fill.end()) return it->second(row);
  // From the argument and the row alone: a row's inputs are the same in every batch.
  Random random(1000003 * (arg + 1) + row);
  std::vector<float> values(view.tokens * view.channels);
  for (float& value : values) value = Rounded(view.dtype, random.Normal());
  return values;
}

OperatorCase NewCase(std::string name, uint32_t kind, int32_t dtype) {
  OperatorCase test;
  test.name = std::move(name);
  test.desc.struct_size = sizeof(unetd_op_desc);
  test.desc.kind = kind;
  test.desc.weight_dtype = dtype;
  // As the host has it: what a bfloat16 model multiplies may be rounded to bfloat16.
  const bool multiplies =
      kind == UNETD_OP_CONV2D || kind == UNETD_OP_LINEAR || kind == UNETD_OP_ATTENTION;
  test.desc.compute_dtype =
      multiplies && dtype == UNETD_DTYPE_BF16 ? UNETD_DTYPE_BF16 : UNETD_DTYPE_F32;
  test.desc.sum_dtype = UNETD_DTYPE_F32;
  return test;
}

void SetView(OperatorCase& test, uint32_t arg, uint64_t tokens, uint32_t channels, int32_t dtype,
             uint64_t gap) {
  test.desc.args[arg] = {tokens, channels + gap, channels, dtype};
}

void SetSources(OperatorCase& test, uint64_t tokens, uint32_t channels, int32_t dtype,
                uint32_t segments, uint64_t gap) {
  uint32_t left = channels;
  for (uint32_t i = 0; i < segments; ++i) {
    const bool last = i + 1 == segments;
    // Uneven on purpose: half of what is left, then one less or more.
    const uint32_t part = last ? left : std::max(1u, left / 2 - (i % 2));
    SetView(test, UNETD_ARG_SRC0 + i, tokens, part, dtype, gap + (segments > 1 ? i : 0));
    left -= part;
  }
}

std::vector<float> TestWeight::Values(uint32_t index, int32_t stored) const {
  uint64_t count = 1;
  for (uint64_t dim : dims) count *= dim;
  Random random(77 + index);
  std::vector<float> values(count);
  for (float& value : values) value = Rounded(stored, random.Normal(mean, deviation));
  return values;
}

void SetWeight(OperatorCase& test, uint32_t index, std::vector<uint64_t> dims, double deviation,
               double mean) {
  test.weights[index] = {std::move(dims), deviation, mean};
}

const char* DTypeLabel(int32_t dtype) {
  return dtype == UNETD_DTYPE_F32 ? "f32" : dtype == UNETD_DTYPE_F16 ? "f16" : "bf16";
}

}  // namespace unetd::test
