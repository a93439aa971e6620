// OperatorCase: a descriptor with its weights and its rows' inputs, for tests that run operators on
// any backend.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/api/unetd_backend.h"

namespace unetd::test {

// Numbers that are the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  double Uniform();                                     // [0, 1)
  float Normal(double mean = 0, double deviation = 1);  // within 4.3 deviations
 private:
  uint64_t state_;
};

// `value` as it is after being stored as `dtype`.
float Rounded(int32_t dtype, float value);
uint64_t SizeOf(int32_t dtype);
// As the checkpoint or an argument holds them. I32 for indices.
std::vector<uint8_t> Encode(int32_t dtype, const std::vector<float>& values);
std::vector<float> Decode(int32_t dtype, const std::vector<uint8_t>& bytes);

// Normal values round `mean`, rounded to the dtype that the descriptor stores weights in. Made when
// asked for: a list of cases costs nothing.
struct TestWeight {
  std::vector<uint64_t> dims;
  double deviation = 1;
  double mean = 0;
  int32_t checkpoint = UNETD_DTYPE_F32;  // how the checkpoint holds it

  std::vector<float> Values(uint32_t index, int32_t stored) const;
};

struct OperatorCase {
  std::string name;
  unetd_op_desc desc{};
  uint32_t rows = 2;
  uint32_t group = 1;                      // rows of a request; divides `rows`
  std::map<uint32_t, TestWeight> weights;  // by the descriptor's index
  // An argument's values in one row, dense [tokens, channels]; unsaid: Normal(). They are rounded
  // to the view's dtype.
  std::map<uint32_t, std::function<std::vector<float>(uint32_t row)>> fill;
  std::map<uint32_t, uint32_t>
      shift;  // elements by which an argument starts beyond a multiple of 64 bytes

  // What a right result may differ by: |got - expected| <= absolute + relative * |expected|.
  double absolute = 0;
  double relative = 0;

  std::vector<float> Input(uint32_t arg, uint32_t row) const;
};

// A case of `kind` with dtypes set: weights stored as `dtype`, products and sums in float32.
OperatorCase NewCase(std::string name, uint32_t kind, int32_t dtype);
// Adds the argument [tokens, channels]; `gap` elements lie between its tokens.
void SetView(OperatorCase& test, uint32_t arg, uint64_t tokens, uint32_t channels, int32_t dtype,
             uint64_t gap = 0);
// Splits the input's `channels` into `segments` uneven segments, each with its own gap.
void SetSources(OperatorCase& test, uint64_t tokens, uint32_t channels, int32_t dtype,
                uint32_t segments = 1, uint64_t gap = 0);
void SetWeight(OperatorCase& test, uint32_t index, std::vector<uint64_t> dims, double deviation,
               double mean = 0);
const char* DTypeLabel(int32_t dtype);  // "f32"

}  // namespace unetd::test
