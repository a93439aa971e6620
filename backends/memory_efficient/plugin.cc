// The plugin's entry: the ABI's table. It owns no memory and serves one operator in the host's
// domain. No exception leaves this file.
#include <cstdio>
#include <memory>
#include <string_view>

#include "backends/api/call.h"
#include "backends/memory_efficient/attention.h"
#include "backends/memory_efficient/problem.h"

namespace unetd::memory_efficient {
namespace {

int32_t Open(const unetd_host*, const unetd_option* options, uint32_t option_count, void** state,
             unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    std::string_view isa = "auto";
    for (uint32_t i = 0; i < option_count; ++i) {
      const std::string_view key = options[i].key == nullptr ? "" : options[i].key;
      if (key != "isa") {
        return Invalid("unknown option " + std::string(key.substr(0, 64)) + ", expected isa");
      }
      isa = options[i].value == nullptr ? "" : options[i].value;
    }
    auto machine = std::make_unique<Machine>();
    if (Answer a = FindMachine(isa, machine.get()); !a.ok()) return a;
    *state = machine.release();
    return Ok();
  });
}

void Close(void* state) { delete static_cast<Machine*>(state); }

int32_t Describe(void* state, unetd_backend_info* info, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const uint32_t size = info->struct_size;
    if (size < sizeof(*info)) return Invalid("unetd_backend_info is too small");
    const Machine& machine = *static_cast<const Machine*>(state);
    *info = {};
    info->struct_size = size;
    info->owns_domain = 0;
    info->batch_invariant = 1;
    std::snprintf(info->domain, sizeof(info->domain), "host");
    std::snprintf(info->device, sizeof(info->device), "%s, %s", machine.model.c_str(), machine.isa);
    return Ok();
  });
}

Answer Check(const unetd_op_desc& desc, Choice* choice) {
  if (desc.struct_size < sizeof(desc)) return Invalid("unetd_op_desc is too small");
  if (Answer a = CheckProblem(desc); !a.ok()) return a;
  return ChooseOperator(desc, choice);
}

int32_t Supports(void*, const unetd_op_desc* desc, unetd_error* why_not) {
  return Guard(why_not, [&] {
    Choice choice;
    return Check(*desc, &choice);
  });
}

int32_t PackRecipe(void*, const unetd_op_desc*, uint32_t, unetd_recipe*, unetd_error* error) {
  return Guard(error, [] { return Invalid("attention has no weights"); });
}

int32_t Pack(void*, const unetd_op_desc*, uint32_t, const unetd_recipe*, const unetd_weight*,
             const unetd_gang*, void*, unetd_error* error) {
  return Guard(error, [] { return Invalid("attention has no weights"); });
}

// What `prepare` hands out.
struct Handle {
  Attention attention;
  plugin::CallCheck call;
};

int32_t Prepare(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    Choice choice;
    if (Answer a = Check(*desc, &choice); !a.ok()) return a;
    const Attention attention(*desc, *static_cast<const Machine*>(state), choice);
    *prepared = {};
    prepared->workspace_bytes = attention.workspace_bytes();
    prepared->thread_workspace_bytes = attention.thread_workspace_bytes();
    std::snprintf(prepared->description, sizeof(prepared->description), "%s",
                  attention.description().c_str());
    prepared->handle = new Handle{
        attention, {*desc, attention.workspace_bytes(), attention.thread_workspace_bytes()}};
    return Ok();
  });
}

int32_t Run(void*, const void* handle, const unetd_exec* exec, const unetd_args* args,
            unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const Handle& prepared = *static_cast<const Handle*>(handle);
    if (Answer a = prepared.call.Check(*exec, *args); !a.ok()) return a;
    return prepared.attention.Run(*exec, *args);
  });
}

void Release(void*, void* handle) { delete static_cast<Handle*>(handle); }

constexpr unetd_backend kBackend = {
    .struct_size = sizeof(unetd_backend),
    .abi_major = UNETD_ABI_MAJOR,
    .abi_minor = UNETD_ABI_MINOR,
    .name = "memory_efficient",
    .version = "1.0",
    .open = Open,
    .close = Close,
    .describe = Describe,
    .allocate = nullptr,
    .free = nullptr,
    .copy = nullptr,
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
}  // namespace unetd::memory_efficient

extern "C" UNETD_EXPORT const unetd_backend* unetd_backend_entry(void) {
  return &unetd::memory_efficient::kBackend;
}
