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

// factor and residual may be null.
template <uint32_t kActivation>
UNETD_SIMD void TransformFloats(const unetd_elementwise& op, const float* source,
                                const float* factor, const float* residual, uint64_t count,
                                float* dst) {
  const Vec a = Set1(op.scale), b = Set1(op.shift);
  EachVector(count, [&](uint64_t at, int n) {
    Vec x = Activate(kActivation, LoadN(source + at, n) * a + b);
    if (factor != nullptr) x = x * LoadN(factor + at, n);
    StoreN(dst + at, residual == nullptr ? x : x + LoadN(residual + at, n), n);
  });
}

// `n` elements of `run` from `at` on as floats, or null if it is absent.
UNETD_SIMD const float* FloatsOf(const ElementRun& run, uint64_t at, uint64_t n, float* room) {
  return run.data == nullptr ? nullptr
                             : AsFloats(Further(run.data, run.dtype, at), run.dtype, n, room);
}

void Transform(const unetd_elementwise& op, ElementRun source, ElementRun factor, bool one_factor,
               ElementRun residual, uint64_t count, void* dst, int32_t dst_dtype) {
  alignas(64) float source_room[kChunk], factor_room[kChunk], residual_room[kChunk],
      dst_room[kChunk];
  if (one_factor) {
    const float value = *AsFloats(factor.data, factor.dtype, 1, factor_room);
    for (float& f : factor_room) f = value;
  }
  EachChunk(count, [&](uint64_t at, uint64_t n) {
    const float* x = FloatsOf(source, at, n, source_room);
    const float* f = one_factor ? factor_room : FloatsOf(factor, at, n, factor_room);
    const float* r = FloatsOf(residual, at, n, residual_room);
    void* to = Further(dst, dst_dtype, at);
    float* y = FloatsFor(to, dst_dtype, dst_room);
    switch (op.activation) {
      case UNETD_ACT_SILU:
        TransformFloats<UNETD_ACT_SILU>(op, x, f, r, n, y);
        break;
      case UNETD_ACT_GELU:
        TransformFloats<UNETD_ACT_GELU>(op, x, f, r, n, y);
        break;
      case UNETD_ACT_MISH:
        TransformFloats<UNETD_ACT_MISH>(op, x, f, r, n, y);
        break;
      case UNETD_ACT_RELU:
        TransformFloats<UNETD_ACT_RELU>(op, x, f, r, n, y);
        break;
      default:
        TransformFloats<UNETD_ACT_NONE>(op, x, f, r, n, y);
    }
    if (dst_dtype == UNETD_DTYPE_BOOL) {
      for (uint64_t i = 0; i < n; ++i) static_cast<uint8_t*>(to)[i] = y[i] != 0;
    } else {
      FromFloats(dst_room, n, to, dst_dtype);
    }
  });
}

void WeightedSum(const void* base, const uint64_t* offsets, const float* weights, uint32_t taps,
                 int32_t source_dtype, uint64_t count, void* dst, int32_t dst_dtype) {
  alignas(64) float source_room[kChunk], sum[kChunk];
  EachChunk(count, [&](uint64_t at, uint64_t n) {
    for (uint32_t tap = 0; tap < taps; ++tap) {
      const void* from = static_cast<const char*>(base) + offsets[tap];
      const float* x = AsFloats(Further(from, source_dtype, at), source_dtype, n, source_room);
      const Vec weight = Set1(weights[tap]);
      EachVector(n, [&](uint64_t j, int lanes) {
        const Vec term = LoadN(x + j, lanes) * weight;
        StoreN(sum + j, tap == 0 ? term : LoadN(sum + j, lanes) + term, lanes);
      });
    }
    void* to = Further(dst, dst_dtype, at);
    WithMutableType(to, dst_dtype, [&](auto* typed) {
      EachVector(n,
                 [&](uint64_t j, int lanes) { StoreN(typed + j, LoadN(sum + j, lanes), lanes); });
    });
  });
}

}  // namespace

const RowKernels kRowKernels = {Convert, Transform, WeightedSum};

}  // namespace unetd::cpu::UNETD_ISA
