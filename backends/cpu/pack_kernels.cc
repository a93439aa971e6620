// Packing by squares: kLanes source rows times kLanes neighbouring values are transposed in
// registers, and each of the resulting vectors is a part of one k of the panel. Compiled once for
// each instruction set.
#include "backends/cpu/pack_kernels.h"

#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

template <typename Source, typename Packed>
void PackPanel(const PackShape& shape, uint32_t panel, uint32_t channel_begin, uint32_t channel_end,
               void* packed) {
  const uint64_t k = uint64_t{shape.channels} * shape.taps;
  const Source* matrix = static_cast<const Source*>(shape.source);
  Packed* out = static_cast<Packed*>(packed) + panel * k * kPanel;
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
        Store(out + (uint64_t{tap} * shape.channels + channel) * kPanel + v * kLanes, square[i]);
        if (++tap == shape.taps) {
          tap = 0;
          ++channel;
        }
      }
    }
  }
}

template <typename Source>
void PackAs(const PackShape& shape, uint32_t panel, uint32_t begin, uint32_t end, void* packed) {
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
