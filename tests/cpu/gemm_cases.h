// Convolutions and linears as test calls, and what they should give: plain loops in double.
#pragma once

#include <string>
#include <vector>

#include "tests/cpu/op_runner.h"

namespace unetd::test {

struct ConvCase {
  std::string name = {};
  uint32_t in_h = 8, in_w = 8;
  std::vector<uint32_t> channels = {8};  // of each source segment
  uint32_t out = 8;
  uint32_t kernel_h = 3, kernel_w = 3, stride = 1;
  uint32_t top = 1, left = 1, bottom = 1, right = 1;
  uint32_t resize_h = 0, resize_w = 0;
  bool bias = true, row_bias = false, residual = false;
  uint32_t activation = UNETD_ACT_NONE;
  float out_scale = 1;
  int32_t dtype = UNETD_DTYPE_F32;         // of every argument
  int32_t weight_dtype = UNETD_DTYPE_F32;  // packed
  int32_t source_dtype = UNETD_DTYPE_F32;  // of the checkpoint
  uint64_t pad_stride = 0;                 // elements between the tokens of every argument
  uint32_t algorithm = UNETD_CONV_AUTO;
  uint32_t reference_h = 0, reference_w = 0;
};

struct LinearCase {
  std::string name = {};
  uint64_t tokens = 8;
  std::vector<uint32_t> channels = {8};
  std::vector<uint32_t> segments = {8};
  uint32_t bias_mask = 1;
  bool row_bias = false, residual = false;
  uint32_t activation = UNETD_ACT_NONE;
  float out_scale = 1;
  int32_t dtype = UNETD_DTYPE_F32;
  int32_t weight_dtype = UNETD_DTYPE_F32;
  int32_t source_dtype = UNETD_DTYPE_F32;
  uint64_t pad_stride = 0;
};

// Row r's values depend on its number alone, so that fewer rows are the first of more.
Call MakeConv(const ConvCase& c, uint32_t rows = 1);
Call MakeLinear(const LinearCase& c, uint32_t rows = 1);

struct Expected {
  std::vector<std::vector<double>> values;     // as Outcome.values
  std::vector<std::vector<double>> tolerance;  // for each of them, from eps and the terms summed
};
// `slack`: how many times more than a direct sum its error may be.
Expected Reference(const Call& call, double slack = 1);

// Empty if the outcome is right; else the first value that is not.
std::string Mismatch(const Call& call, const Outcome& outcome);

}  // namespace unetd::test
