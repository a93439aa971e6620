#include "backends/cpu/row_kernels.h"

#include "backends/cpu/typed_rows.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

constexpr uint64_t kChunk =
    512;  // floats that pass through L1 at a time, where a dtype is not float32

void Convert(const void* source, int32_t source_dtype, uint64_t count, void* dst,
             int32_t dst_dtype) {
  if (source_dtype == dst_dtype) {
    __builtin_memmove(dst, source, count * DTypeBytes(source_dtype));
    return;
  }
  WithType(source, source_dtype, [&](const auto* from) {
    WithMutableType(dst, dst_dtype, [&](auto* to) {
      EachVector(count, [&](uint64_t at, int n) { StoreN(to + at, LoadN(from + at, n), n); });
    });
  });
}

// Calls body(at, n) for chunks of [0, count).
template <typename Body>
UNETD_SIMD void EachChunk(uint64_t count, const Body& body) {
  for (uint64_t at = 0; at < count; at += kChunk) {
    body(at, count - at < kChunk ? count - at : kChunk);
  }
}

template <uint32_t kActivation>
UNETD_SIMD void TransformFloats(const float* source, const float* residual, float scale,
                                float shift, uint64_t count, float* dst) {
  const Vec a = Set1(scale), b = Set1(shift);
  EachVector(count, [&](uint64_t at, int n) {
    const Vec x = Activate(kActivation, LoadN(source + at, n) * a + b);
    StoreN(dst + at, residual == nullptr ? x : x + LoadN(residual + at, n), n);
  });
}

void Transform(const unetd_elementwise& op, const void* source, int32_t source_dtype,
               const void* residual, int32_t residual_dtype, uint64_t count, void* dst,
               int32_t dst_dtype) {
  alignas(64) float source_room[kChunk], residual_room[kChunk], dst_room[kChunk];
  EachChunk(count, [&](uint64_t at, uint64_t n) {
    const float* x = AsFloats(Further(source, source_dtype, at), source_dtype, n, source_room);
    const float* r = residual == nullptr ? nullptr
                                         : AsFloats(Further(residual, residual_dtype, at),
                                                    residual_dtype, n, residual_room);
    void* to = Further(dst, dst_dtype, at);
    float* y = FloatsFor(to, dst_dtype, dst_room);
    switch (op.activation) {
      case UNETD_ACT_SILU:
        TransformFloats<UNETD_ACT_SILU>(x, r, op.scale, op.shift, n, y);
        break;
      case UNETD_ACT_GELU:
        TransformFloats<UNETD_ACT_GELU>(x, r, op.scale, op.shift, n, y);
        break;
      case UNETD_ACT_MISH:
        TransformFloats<UNETD_ACT_MISH>(x, r, op.scale, op.shift, n, y);
        break;
      case UNETD_ACT_RELU:
        TransformFloats<UNETD_ACT_RELU>(x, r, op.scale, op.shift, n, y);
        break;
      default:
        TransformFloats<UNETD_ACT_NONE>(x, r, op.scale, op.shift, n, y);
    }
    FromFloats(dst_room, n, to, dst_dtype);
  });
}

void Average(const void* const sources[4], int32_t source_dtype, uint64_t count, void* dst,
             int32_t dst_dtype) {
  alignas(64) float rooms[4][kChunk], dst_room[kChunk];
  EachChunk(count, [&](uint64_t at, uint64_t n) {
    const float* x[4];
    for (int i = 0; i < 4; ++i) {
      x[i] = AsFloats(Further(sources[i], source_dtype, at), source_dtype, n, rooms[i]);
    }
    void* to = Further(dst, dst_dtype, at);
    float* y = FloatsFor(to, dst_dtype, dst_room);
    EachVector(n, [&](uint64_t j, int lanes) {
      const Vec sum = LoadN(x[0] + j, lanes) + LoadN(x[1] + j, lanes) + LoadN(x[2] + j, lanes) +
                      LoadN(x[3] + j, lanes);
      StoreN(y + j, sum * Set1(0.25f), lanes);
    });
    FromFloats(dst_room, n, to, dst_dtype);
  });
}

}  // namespace

const RowKernels kRowKernels = {Convert, Transform, Average};

}  // namespace unetd::cpu::UNETD_ISA
