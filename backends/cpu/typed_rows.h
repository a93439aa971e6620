// Runs of elements in a storage dtype, read and written as vectors of floats. For x_kernels.cc
// files only.
#pragma once

#include "backends/cpu/simd.h"

namespace unetd::cpu::UNETD_ISA {

// Calls body(pointer of the dtype's element type) for a storage dtype.
template <typename Body>
UNETD_SIMD void WithType(const void* p, int32_t dtype, const Body& body) {
  if (dtype == UNETD_DTYPE_F32) {
    body(static_cast<const float*>(p));
  } else if (dtype == UNETD_DTYPE_F16) {
    body(static_cast<const F16*>(p));
  } else {
    body(static_cast<const BF16*>(p));
  }
}
template <typename Body>
UNETD_SIMD void WithMutableType(void* p, int32_t dtype, const Body& body) {
  if (dtype == UNETD_DTYPE_F32) {
    body(static_cast<float*>(p));
  } else if (dtype == UNETD_DTYPE_F16) {
    body(static_cast<F16*>(p));
  } else {
    body(static_cast<BF16*>(p));
  }
}

// body(at, n) for vectors of n <= kLanes elements: all whole but the last.
template <typename Body>
UNETD_SIMD void EachVector(uint64_t count, const Body& body) {
  uint64_t at = 0;
  for (; at + kLanes <= count; at += kLanes) body(at, kLanes);
  if (at < count) body(at, static_cast<int>(count - at));
}
template <typename T>
UNETD_SIMD Vec LoadN(const T* p, int n) {
  return n == kLanes ? Load(p) : LoadPart(p, n);
}
template <typename T>
UNETD_SIMD void StoreN(T* p, Vec v, int n) {
  if (n == kLanes) {
    Store(p, v);
  } else {
    StorePart(p, v, n);
  }
}

// `count` elements from p on as floats: where they lie if they are floats, else converted into
// `room`.
UNETD_SIMD const float* AsFloats(const void* p, int32_t dtype, uint64_t count, float* room) {
  if (dtype == UNETD_DTYPE_F32) return static_cast<const float*>(p);
  WithType(p, dtype, [&](const auto* typed) {
    EachVector(count, [&](uint64_t at, int n) { StoreN(room + at, LoadN(typed + at, n), n); });
  });
  return room;
}
// Where to write floats that are to be `dst` after FromFloats.
UNETD_SIMD float* FloatsFor(void* dst, int32_t dtype, float* room) {
  return dtype == UNETD_DTYPE_F32 ? static_cast<float*>(dst) : room;
}
UNETD_SIMD void FromFloats(const float* room, uint64_t count, void* dst, int32_t dtype) {
  if (dtype == UNETD_DTYPE_F32) return;
  WithMutableType(dst, dtype, [&](auto* typed) {
    EachVector(count, [&](uint64_t at, int n) { StoreN(typed + at, LoadN(room + at, n), n); });
  });
}

// A pointer `elements` further on.
UNETD_SIMD const void* Further(const void* p, int32_t dtype, uint64_t elements) {
  return static_cast<const char*>(p) + elements * DTypeBytes(dtype);
}
UNETD_SIMD void* Further(void* p, int32_t dtype, uint64_t elements) {
  return static_cast<char*>(p) + elements * DTypeBytes(dtype);
}

}  // namespace unetd::cpu::UNETD_ISA
