// A backend with a memory domain of its own, for tests: addresses that host code cannot touch, and
// attention by plain loops.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "server/backend/reference.h"
#include "server/backend/reference_numbers.h"

namespace unetd {

struct FarMemory {
  // No address of a process has this bit set: dereferencing one faults.
  static constexpr uintptr_t kFar = uintptr_t{1} << 62;
  static uint8_t* Near(const void* far) {
    return reinterpret_cast<uint8_t*>(reinterpret_cast<uintptr_t>(far) & ~kFar);
  }
  static bool IsFar(const void* p) { return (reinterpret_cast<uintptr_t>(p) & kFar) != 0; }

  inline static uint64_t held = 0;
  inline static uint64_t copied_in = 0, copied_out = 0;
  inline static uint64_t largest = UINT64_MAX;
};

inline void RunFarAttention(const unetd_op_desc& desc, const unetd_exec& exec,
                            const unetd_args& args, uint32_t row) {
  const unetd_attention& op = desc.u.attention;
  const auto at = [&](int arg) {
    return FarMemory::Near(exec.spaces[args.args[arg].space][row]) + args.args[arg].offset;
  };
  const auto load = [&](int arg, uint64_t token, uint64_t channel) {
    return reference::LoadFloat(desc.args[arg].dtype, at(arg),
                                token * desc.args[arg].stride + channel);
  };
  const uint64_t queries = desc.args[UNETD_ARG_SRC0].tokens, keys = desc.args[UNETD_ARG_KEY].tokens;
  const bool masked = desc.args[UNETD_ARG_MASK].tokens != 0;
  for (uint64_t h = 0; h < op.heads; ++h) {
    for (uint64_t q = 0; q < queries; ++q) {
      std::vector<double> weights(keys);
      double sum = 0;
      for (uint64_t k = 0; k < keys; ++k) {
        double score = 0;
        for (uint64_t d = 0; d < op.head_dim; ++d) {
          score += double{load(UNETD_ARG_SRC0, q, h * op.head_dim + d)} *
                   double{load(UNETD_ARG_KEY, k, h * op.head_dim + d)};
        }
        const bool drop = masked && at(UNETD_ARG_MASK)[k] != 0;
        weights[k] = drop ? 0 : std::exp(score * double{op.scale});
        sum += weights[k];
      }
      for (uint64_t d = 0; d < op.head_dim; ++d) {
        double value = 0;
        for (uint64_t k = 0; k < keys; ++k)
          value += weights[k] / sum * double{load(UNETD_ARG_VALUE, k, h * op.head_dim + d)};
        const unetd_view& dst = desc.args[UNETD_ARG_DST];
        reference::StoreFloat(dst.dtype, at(UNETD_ARG_DST), q * dst.stride + h * op.head_dim + d,
                              value);
      }
    }
  }
}

// Takes dense attention of the algorithm npu with a bool mask.
inline const unetd_backend* FarBackend() {
  static const unetd_backend table = [] {
    unetd_backend far = *ReferenceBackend();
    far.name = "far";
    far.describe = [](void*, unetd_backend_info* info, unetd_error*) -> int32_t {
      info->owns_domain = 1;
      std::snprintf(info->domain, sizeof(info->domain), "far");
      std::snprintf(info->device, sizeof(info->device), "far away");
      return UNETD_OK;
    };
    far.allocate = [](void*, uint64_t bytes, void** address, unetd_error* error) -> int32_t {
      if (bytes > FarMemory::largest) {
        std::snprintf(error->text, sizeof(error->text), "the far memory is full");
        return UNETD_NO_MEMORY;
      }
      FarMemory::held += bytes;
      *address = reinterpret_cast<void*>(
          reinterpret_cast<uintptr_t>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) |
          FarMemory::kFar);
      return UNETD_OK;
    };
    far.free = [](void*, void* address, uint64_t bytes) {
      FarMemory::held -= bytes;
      std::free(FarMemory::Near(address));
    };
    far.copy = [](void*, void* dst, const void* src, uint64_t bytes, int32_t direction, void*,
                  unetd_error* error) -> int32_t {
      const bool in = direction == UNETD_COPY_TO_DOMAIN;
      if (FarMemory::IsFar(dst) != in || FarMemory::IsFar(src) == in) {
        std::snprintf(error->text, sizeof(error->text), "a copy in the wrong direction");
        return UNETD_INVALID;
      }
      (in ? FarMemory::copied_in : FarMemory::copied_out) += bytes;
      std::memcpy(FarMemory::Near(dst), FarMemory::Near(src), bytes);
      return UNETD_OK;
    };
    far.supports = [](void*, const unetd_op_desc* desc, unetd_error* why) -> int32_t {
      bool dense =
          desc->kind == UNETD_OP_ATTENTION && desc->u.attention.algorithm == UNETD_ATTENTION_NPU;
      for (const unetd_view& view : desc->args) dense = dense && view.stride == view.channels;
      const unetd_view& mask = desc->args[UNETD_ARG_MASK];
      if (dense && (mask.tokens == 0 || mask.dtype == UNETD_DTYPE_BOOL)) return UNETD_OK;
      std::snprintf(why->text, sizeof(why->text), "only dense attention out here");
      return UNETD_UNSUPPORTED;
    };
    far.prepare = [](void*, const unetd_op_desc* desc, unetd_prepared* prepared,
                     unetd_error*) -> int32_t {
      *prepared = {};
      prepared->handle = new unetd_op_desc(*desc);
      std::snprintf(prepared->description, sizeof(prepared->description), "far loops");
      return UNETD_OK;
    };
    far.run = [](void*, const void* handle, const unetd_exec* exec, const unetd_args* args,
                 unetd_error*) -> int32_t {
      for (uint32_t row = 0; row < exec->rows; ++row) {
        RunFarAttention(*static_cast<const unetd_op_desc*>(handle), *exec, *args, row);
      }
      return UNETD_OK;
    };
    far.release = [](void*, void* handle) { delete static_cast<unetd_op_desc*>(handle); };
    return far;
  }();
  return &table;
}

}  // namespace unetd
