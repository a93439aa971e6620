// The plugin's entry: the ABI's table over Device and Attention. No exception leaves this file.
//
// What it serves: UNETD_OP_ATTENTION with the algorithm UNETD_ATTENTION_NPU, src, key, value and
// dst all float16 or all bfloat16. A MASK must be marked bool_mask = 1 and have the dtype
// UNETD_DTYPE_BOOL, [1, K] or [Q, K], a byte each: 1 = this key is masked out, 0 = it is kept, as
// CANN's atten_mask. That is not the float32 mask of host domains: whoever copies a mask into this
// domain makes it (a value <= -10000 becomes 1, 0 stays 0); a float32 mask is refused.
//
// `run` only enqueues. `copy` without a stream comes after every earlier `run` without a stream,
// and is complete when it returns; errors of the kernels appear there, too.
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backends/api/call.h"
#include "backends/npu/attention.h"
#include "backends/npu/device.h"

namespace unetd::npu {
namespace {

const Device& DeviceOf(void* state) { return *static_cast<const Device*>(state); }

Answer ParseDevice(std::string_view text, int32_t* device) {
  int64_t value = text.empty() || text.size() > 4 ? -1 : 0;
  for (const char c : text) {
    if (c < '0' || c > '9') value = -1;
    if (value >= 0) value = value * 10 + (c - '0');
  }
  if (value < 0) return Invalid("option device: expected a whole number from 0 to 9999");
  *device = static_cast<int32_t>(value);
  return Ok();
}

Answer ParseOptions(const unetd_option* options, uint32_t count, DeviceOptions* parsed) {
  for (uint32_t i = 0; i < count; ++i) {
    const std::string_view key = options[i].key == nullptr ? "" : options[i].key;
    const std::string_view value = options[i].value == nullptr ? "" : options[i].value;
    if (key == "device") {
      if (Answer a = ParseDevice(value, &parsed->device); !a.ok()) return a;
    } else if (key == "library_path") {
      if (value.empty() || value.front() != '/') {
        return Invalid("option library_path: expected an absolute folder");
      }
      parsed->library_path = value;
    } else {
      return Invalid("unknown option " + std::string(key.substr(0, 64)) +
                     ", expected device or library_path");
    }
  }
  return Ok();
}

int32_t Open(const unetd_host* host, const unetd_option* options, uint32_t option_count,
             void** state, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    DeviceOptions parsed;
    if (Answer a = ParseOptions(options, option_count, &parsed); !a.ok()) return a;
    std::unique_ptr<Device> device;
    if (Answer a = Device::Open(parsed, host, &device); !a.ok()) return a;
    *state = device.release();
    return Ok();
  });
}

void Close(void* state) { delete static_cast<Device*>(state); }

int32_t Describe(void* state, unetd_backend_info* info, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const uint32_t size = info->struct_size;
    if (size < sizeof(*info)) return Invalid("unetd_backend_info is too small");
    *info = {};
    info->struct_size = size;
    info->owns_domain = 1;
    info->batch_invariant = 0;  // CANN promises nothing of the kind, and nobody has measured it
    std::snprintf(info->domain, sizeof(info->domain), "npu");
    std::snprintf(info->device, sizeof(info->device), "%s", DeviceOf(state).soc().c_str());
    return Ok();
  });
}

// ---- domain ----

int32_t Allocate(void* state, uint64_t bytes, void** address, unetd_error* error) {
  return Guard(error, [&]() -> Answer { return DeviceOf(state).Allocate(bytes, address); });
}

void Free(void* state, void* address, uint64_t) { DeviceOf(state).Free(address); }

int32_t Copy(void* state, void* dst, const void* src, uint64_t bytes, int32_t direction,
             void* stream, unetd_error* error) {
  return Guard(
      error, [&]() -> Answer { return DeviceOf(state).Copy(dst, src, bytes, direction, stream); });
}

// ---- operators ----

Answer MakeAttention(const Device& device, const unetd_op_desc& desc,
                     std::unique_ptr<Attention>* attention) {
  if (desc.struct_size < sizeof(desc)) return Invalid("unetd_op_desc is too small");
  if (desc.kind != UNETD_OP_ATTENTION) {
    return Unsupported("operator kind " + std::to_string(desc.kind) +
                       " is not served, only attention");
  }
  Answer answer = Attention::Prepare(device, desc, attention);
  if (!answer.ok()) answer.text = "attention: " + answer.text;
  return answer;
}

int32_t Supports(void* state, const unetd_op_desc* desc, unetd_error* why_not) {
  return Guard(why_not, [&]() -> Answer {
    std::unique_ptr<Attention> attention;
    return MakeAttention(DeviceOf(state), *desc, &attention);
  });
}

int32_t PackRecipe(void*, const unetd_op_desc*, uint32_t, unetd_recipe*, unetd_error* error) {
  return Guard(error, [&]() -> Answer { return Invalid("attention has no weights"); });
}

int32_t Pack(void*, const unetd_op_desc*, uint32_t, const unetd_recipe*, const unetd_weight*,
             const unetd_gang*, void*, unetd_error* error) {
  return Guard(error, [&]() -> Answer { return Invalid("attention has no weights"); });
}

// What `prepare` hands out.
struct Handle {
  std::unique_ptr<Attention> attention;
  plugin::CallCheck call;
};

int32_t Prepare(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    std::unique_ptr<Attention> attention;
    if (Answer a = MakeAttention(DeviceOf(state), *desc, &attention); !a.ok()) return a;
    *prepared = {};
    prepared->workspace_bytes = attention->workspace_bytes();
    prepared->max_threads = 1;
    std::snprintf(prepared->description, sizeof(prepared->description), "%s",
                  attention->Description().c_str());
    const plugin::CallCheck call(*desc, attention->workspace_bytes(), 0);
    prepared->handle = new Handle{std::move(attention), call};
    return Ok();
  });
}

int32_t Run(void*, const void* handle, const unetd_exec* exec, const unetd_args* args,
            unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const Handle& prepared = *static_cast<const Handle*>(handle);
    if (Answer a = prepared.call.Check(*exec, *args); !a.ok()) return a;
    return prepared.attention->Run(*exec, *args);
  });
}

void Release(void*, void* handle) { delete static_cast<Handle*>(handle); }

constexpr unetd_backend kBackend = {
    .struct_size = sizeof(unetd_backend),
    .abi_major = UNETD_ABI_MAJOR,
    .abi_minor = UNETD_ABI_MINOR,
    .name = "npu",
    .version = "1.0",
    .open = Open,
    .close = Close,
    .describe = Describe,
    .allocate = Allocate,
    .free = Free,
    .copy = Copy,
    .begin_capture = nullptr,
    .end_capture = nullptr,
    .replay = nullptr,
    .release_capture = nullptr,
    .supports = Supports,
    .pack_recipe = PackRecipe,
    .pack = Pack,
    .prepare = Prepare,
    .run = Run,
    .release = Release,
};

}  // namespace
}  // namespace unetd::npu

extern "C" UNETD_EXPORT const unetd_backend* unetd_backend_entry(void) {
  return &unetd::npu::kBackend;
}
