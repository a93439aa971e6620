#include "backends/cpu/layout_kernels.h"

#include "backends/cpu/typed_rows.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

template <typename T, typename U>
UNETD_SIMD void Square(const T* from, uint64_t from_row, U* to, uint64_t to_row, int rows,
                       int columns, Vec scale, Vec shift) {
  Vec square[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    square[i] = i < rows
                    ? LoadN(from + static_cast<uint64_t>(i) * from_row, columns) * scale + shift
                    : Zero();
  }
  Transpose(square);
  for (int j = 0; j < columns; ++j) {
    StoreN(to + static_cast<uint64_t>(j) * to_row, square[j], rows);
  }
}

void TransposeAll(const Matrix& from, const Matrix& to, uint64_t rows, uint64_t columns,
                  float scale, float shift) {
  const Vec a = Set1(scale), b = Set1(shift);
  WithType(from.data, from.dtype, [&](const auto* source) {
    WithMutableType(to.data, to.dtype, [&](auto* dst) {
      for (uint64_t j = 0; j < columns; j += kLanes) {
        const int width = columns - j < kLanes ? static_cast<int>(columns - j) : kLanes;
        for (uint64_t i = 0; i < rows; i += kLanes) {
          const int height = rows - i < kLanes ? static_cast<int>(rows - i) : kLanes;
          Square(source + i * from.row + j, from.row, dst + j * to.row + i, to.row, height, width,
                 a, b);
        }
      }
    });
  });
}

}  // namespace

const LayoutKernels kLayoutKernels = {TransposeAll};

}  // namespace unetd::cpu::UNETD_ISA
