// What follows a finished sum: bias, row bias, activation, residual, scale and the store in dst's
// dtype. For x_kernels.cc files only.
#pragma once

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/gemm_tile.h"

namespace unetd::cpu::UNETD_ISA {

UNETD_SIMD Vec LoadAny(const uint8_t* base, int32_t dtype, uint32_t index, int n) {
  switch (dtype) {
    case UNETD_DTYPE_F16:
      return LoadPart(reinterpret_cast<const F16*>(base) + index, n);
    case UNETD_DTYPE_BF16:
      return LoadPart(reinterpret_cast<const BF16*>(base) + index, n);
    default:
      return LoadPart(reinterpret_cast<const float*>(base) + index, n);
  }
}

UNETD_SIMD void StoreAny(uint8_t* base, int32_t dtype, uint32_t index, Vec v, int n) {
  switch (dtype) {
    case UNETD_DTYPE_F16:
      return StorePart(reinterpret_cast<F16*>(base) + index, v, n);
    case UNETD_DTYPE_BF16:
      return StorePart(reinterpret_cast<BF16*>(base) + index, v, n);
    default:
      return StorePart(reinterpret_cast<float*>(base) + index, v, n);
  }
}

// Where one token's results go and what is added to it.
struct TokenOut {
  uint8_t* dst;
  const uint8_t* residual;
  const uint8_t* row_bias;
};

UNETD_SIMD void Finish(const GemmPlan& plan, const TokenOut& token, uint32_t channel, Vec v,
                       int n) {
  if (plan.has_residual) v = v + LoadAny(token.residual, plan.residual_dtype, channel, n);
  v = v * Set1(plan.out_scale);
  StoreAny(token.dst, plan.dst_dtype, channel, v, n);
}

// `sums` holds rows of kPanel floats; `bias` is the panel's, padded, or null; `channel` is dst's
// channel of the panel's first column, of which `columns` exist.
template <uint32_t kActivation>
void Epilogue(const GemmPlan& plan, const TokenOut* tokens, const float* sums, int rows,
              const float* bias, uint32_t channel, int columns) {
  Vec add[kPanelVectors];
  for (int v = 0; v < kPanelVectors; ++v) {
    add[v] = bias != nullptr ? Load(bias + v * kLanes) : Zero();
  }
  for (int r = 0; r < rows; ++r) {
    const TokenOut& token = tokens[r];
    const float* sum = sums + r * kPanel;
    if constexpr (kActivation == UNETD_ACT_GEGLU) {
      const Vec value = Load(sum) + add[0];
      const Vec gate = Load(sum + kLanes) + add[1];
      Finish(plan, token, channel, value * Gelu(gate), columns);
    } else {
      for (int v = 0; v < kPanelVectors && v * kLanes < columns; ++v) {
        const int n = columns - v * kLanes < kLanes ? columns - v * kLanes : kLanes;
        const uint32_t first = channel + static_cast<uint32_t>(v * kLanes);
        Vec x = Load(sum + v * kLanes) + add[v];
        if (plan.has_row_bias) x = x + LoadAny(token.row_bias, plan.row_bias_dtype, first, n);
        Finish(plan, token, first, Activate(kActivation, x), n);
      }
    }
  }
}

using EpilogueFn = void (*)(const GemmPlan& plan, const TokenOut* tokens, const float* sums,
                            int rows, const float* bias, uint32_t channel, int columns);

inline EpilogueFn PickEpilogue(uint32_t activation) {
  switch (activation) {
    case UNETD_ACT_SILU:
      return Epilogue<UNETD_ACT_SILU>;
    case UNETD_ACT_GELU:
      return Epilogue<UNETD_ACT_GELU>;
    case UNETD_ACT_MISH:
      return Epilogue<UNETD_ACT_MISH>;
    case UNETD_ACT_RELU:
      return Epilogue<UNETD_ACT_RELU>;
    case UNETD_ACT_GEGLU:
      return Epilogue<UNETD_ACT_GEGLU>;
    default:
      return Epilogue<UNETD_ACT_NONE>;
  }
}

}  // namespace unetd::cpu::UNETD_ISA
