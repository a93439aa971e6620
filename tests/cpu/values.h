// Values of the storage dtypes for the tests, by arithmetic on doubles: not by the conversions
// under test.
#pragma once

#include <cstdint>
#include <vector>

#include "backends/api/unetd_backend.h"

namespace unetd::test {

uint32_t Bytes(int32_t dtype);  // an element
void Put(uint8_t* p, int32_t dtype, double value);
double Get(const uint8_t* p, int32_t dtype);
double Rounded(double value, int32_t dtype);  // what storing it keeps
// Uniform in [-1, 1] from a hash of (seed, i), rounded to dtype.
std::vector<double> Noise(uint64_t count, uint64_t seed, int32_t dtype = UNETD_DTYPE_F32,
                          double scale = 1, double offset = 0);
// A view with a stride (0: dense).
unetd_view View(uint64_t tokens, uint32_t channels, int32_t dtype = UNETD_DTYPE_F32,
                uint64_t stride = 0);
unetd_op_desc Desc(uint32_t kind);
// Relative error of storing: half a unit in the last place.
double Epsilon(int32_t dtype);

}  // namespace unetd::test
