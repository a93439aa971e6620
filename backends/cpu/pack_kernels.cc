// Packing by squares: kLanes source rows times kLanes neighbouring values are transposed in
// registers, and each of the resulting vectors is a part of one k of the panel. Compiled once for
// each instruction set.
#include "backends/cpu/pack_kernels.h"

#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

// Vector v of a panel's columns at k.
template <typename Packed>
UNETD_SIMD void Put(Packed* panel, uint64_t k, int v, Vec x) {
  Store(panel + k * kPanel + v * kLanes, x);
}
// What follows the last of `k`.
template <typename Packed>
UNETD_SIMD void FillUp(Packed*, uint64_t, int) {}
template <typename Packed>
constexpr uint64_t PanelSize(uint64_t k) {  // in elements of Packed
  return k * kPanel;
}
#if defined(__AVX512F__)
UNETD_SIMD void Put(BF16Pair* panel, uint64_t k, int v, Vec x) {
  StoreInPairs(panel + k / 2 * kPanel + v * kLanes, x, k % 2 != 0);
}
UNETD_SIMD void FillUp(BF16Pair* panel, uint64_t k, int v) {
  if (k % 2 != 0) Put(panel, k, v, Zero());
}
template <>
constexpr uint64_t PanelSize<BF16Pair>(uint64_t k) {
  return (k + 1) / 2 * kPanel;
}
#endif

template <typename Source, typename Packed>
void PackPanel(const PackShape& shape, uint32_t panel, uint32_t channel_begin, uint32_t channel_end,
               void* packed) {
  const uint64_t k = uint64_t{shape.channels} * shape.taps;
  const Source* matrix = static_cast<const Source*>(shape.source);
  Packed* out = static_cast<Packed*>(packed) + panel * PanelSize<Packed>(k);
  const uint64_t end = uint64_t{channel_end} * shape.taps;
  for (int v = 0; v < kPanelVectors; ++v) {
    // Source rows first_row + lane, of which `limit` exist in all.
    const uint32_t limit = shape.paired ? shape.rows / 2 : shape.rows;
    const uint64_t in_limit =
        shape.paired ? uint64_t{panel} * kLanes : uint64_t{panel} * kPanel + v * kLanes;
    const Source* rows[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint64_t row = in_limit + lane;
      const uint64_t half = shape.paired && v == 1 ? limit : 0;
      rows[lane] = row < limit ? matrix + (half + row) * k : nullptr;
    }
    uint32_t channel = channel_begin;
    uint32_t tap = 0;
    for (uint64_t j = uint64_t{channel_begin} * shape.taps; j < end; j += kLanes) {
      const int n = end - j < kLanes ? static_cast<int>(end - j) : kLanes;
      Vec square[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        if (rows[lane] == nullptr) {
          square[lane] = Zero();
        } else {
          square[lane] = n == kLanes ? Load(rows[lane] + j) : LoadPart(rows[lane] + j, n);
        }
      }
      Transpose(square);
      for (int i = 0; i < n; ++i) {
        Put(out, uint64_t{tap} * shape.channels + channel, v, square[i]);
        if (++tap == shape.taps) {
          tap = 0;
          ++channel;
        }
      }
    }
    if (channel_end == shape.channels) FillUp(out, k, v);
  }
}

template <typename Source>
void PackAs(const PackShape& shape, uint32_t panel, uint32_t begin, uint32_t end, void* packed) {
#if defined(__AVX512F__)
  if (shape.bf16_pairs) return PackPanel<Source, BF16Pair>(shape, panel, begin, end, packed);
#endif
  switch (shape.packed_dtype) {
    case UNETD_DTYPE_F16:
      return PackPanel<Source, F16>(shape, panel, begin, end, packed);
    case UNETD_DTYPE_BF16:
      return PackPanel<Source, BF16>(shape, panel, begin, end, packed);
    default:
      return PackPanel<Source, float>(shape, panel, begin, end, packed);
  }
}

void Panel(const PackShape& shape, uint32_t panel, uint32_t begin, uint32_t end, void* packed) {
  switch (shape.source_dtype) {
    case UNETD_DTYPE_F16:
      return PackAs<F16>(shape, panel, begin, end, packed);
    case UNETD_DTYPE_BF16:
      return PackAs<BF16>(shape, panel, begin, end, packed);
    default:
      return PackAs<float>(shape, panel, begin, end, packed);
  }
}

}  // namespace

const PackKernels kPackKernels = {Panel};

}  // namespace unetd::cpu::UNETD_ISA
