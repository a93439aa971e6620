// Standard normal noise from seeds, the same on every machine, whatever the batch and the order of
// its rows.
//
// The generator is Philox 4x32-10 (Salmon et al., 2011). For a row with a 64-bit seed, elements 4j
// .. 4j+3 of its noise come from one block: key = {low half of the seed, high half}, counter = {low
// half of j, high half of j, stream, 0}. Of the block's four words (x0, x1, x2, x3), Box-Muller in
// float64 makes
//   r = sqrt(-2 ln((x0 + 1) / 2^32)),  a = 2 pi x1 / 2^32:  n0 = r cos(a), n1 = r sin(a)
// and n2, n3 likewise of x2, x3; each is rounded to float32. Elements are numbered as the row-major
// [C,H,W] has them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace unetd {

// Stream ids.
inline constexpr uint32_t kLatentStream = 0;
constexpr uint32_t StepStream(int64_t step) { return 1 + static_cast<uint32_t>(step); }

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The noise of one row.
void FillNormal(uint64_t seed, uint32_t stream, std::span<float> row);

}  // namespace unetd
