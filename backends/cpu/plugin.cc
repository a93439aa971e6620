// The plugin's entry: the ABI's table over the operators of op_table.cc. No exception leaves this
// file.
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "backends/api/call.h"
#include "backends/cpu/cpu_info.h"
#include "backends/cpu/host_memory.h"
#include "backends/cpu/op_table.h"

namespace unetd::cpu {
namespace {

struct State {
  CpuInfo cpu;
  Isa isa;
  uint32_t threads = 0;
};

// What `prepare` hands out.
struct Handle {
  std::unique_ptr<Kernel> kernel;
  plugin::CallCheck call;
};

const State& StateOf(void* state) { return *static_cast<const State*>(state); }

// ---- options ----

Answer ParseThreads(std::string_view text, uint32_t* threads) {
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') value = UINT32_MAX;
    if (value < UINT32_MAX) value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (text.empty() || value < 1 || value > 1024) {
    return Invalid("option threads: expected a whole number from 1 to 1024");
  }
  *threads = static_cast<uint32_t>(value);
  return Ok();
}

Answer ParseIsa(std::string_view text, const CpuInfo& cpu, Isa* isa) {
  if (text == "auto") {
    isa->avx512 = cpu.avx512;
    isa->bf16 = cpu.bf16;
    return Ok();
  }
  if (text != "avx2" && text != "avx512" && text != "avx512_bf16") {
    return Invalid("option isa: expected auto, avx2, avx512 or avx512_bf16");
  }
  isa->avx512 = text != "avx2";
  isa->bf16 = text == "avx512_bf16";
  if (isa->avx512 && !cpu.avx512) {
    return Unsupported("option isa: " + cpu.model + " has no AVX-512 (F, BW, VL and DQ)");
  }
  if (isa->bf16 && !cpu.bf16) {
    return Unsupported("option isa: " + cpu.model + " has no AVX512_BF16");
  }
  return Ok();
}

Answer OpenState(const unetd_option* options, uint32_t count, State* state) {
  state->cpu = ReadCpuInfo();
  if (!state->cpu.avx2) {
    return Unsupported(state->cpu.model + " lacks AVX2, FMA or F16C, which this backend needs");
  }
  state->isa.avx512 = state->cpu.avx512;
  state->isa.bf16 = state->cpu.bf16;
  for (uint32_t i = 0; i < count; ++i) {
    const std::string_view key = options[i].key == nullptr ? "" : options[i].key;
    const std::string_view value = options[i].value == nullptr ? "" : options[i].value;
    Answer answer;
    if (key == "threads") {
      answer = ParseThreads(value, &state->threads);
    } else if (key == "isa") {
      answer = ParseIsa(value, state->cpu, &state->isa);
    } else {
      answer =
          Invalid("unknown option " + std::string(key.substr(0, 64)) + ", expected threads or isa");
    }
    if (!answer.ok()) return answer;
  }
  return Ok();
}

int32_t Open(const unetd_host*, const unetd_option* options, uint32_t option_count, void** state,
             unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    auto opened = std::make_unique<State>();
    if (Answer a = OpenState(options, option_count, opened.get()); !a.ok()) return a;
    *state = opened.release();
    return Ok();
  });
}

void Close(void* state) { delete static_cast<State*>(state); }

int32_t Describe(void* state, unetd_backend_info* info, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const uint32_t size = info->struct_size;
    if (size < sizeof(*info)) return Invalid("unetd_backend_info is too small");
    *info = {};
    info->struct_size = size;
    info->owns_domain = 1;
    info->threads = StateOf(state).threads;
    info->batch_invariant = 1;
    std::snprintf(info->domain, sizeof(info->domain), "host");
    std::snprintf(info->device, sizeof(info->device), "%s, %s", StateOf(state).cpu.model.c_str(),
                  StateOf(state).isa.name(StateOf(state).isa.bf16));
    return Ok();
  });
}

// ---- domain ----

int32_t Allocate(void*, uint64_t bytes, void** address, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    *address = AllocateHost(bytes);
    if (*address != nullptr) return Ok();
    return {UNETD_NO_MEMORY, "cannot allocate " + std::to_string(bytes) + " bytes"};
  });
}

void Free(void*, void* address, uint64_t bytes) { FreeHost(address, bytes); }

int32_t Copy(void*, void* dst, const void* src, uint64_t bytes, int32_t direction, void*,
             unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    if (direction < UNETD_COPY_TO_DOMAIN || direction > UNETD_COPY_WITHIN) {
      return Invalid("unknown copy direction " + std::to_string(direction));
    }
    if (bytes > 0) std::memmove(dst, src, bytes);
    return Ok();
  });
}

// ---- operators ----

// Finds the operator and asks whether it serves this descriptor.
Answer Check(const State& state, const unetd_op_desc& desc, const OpEntry** op) {
  if (desc.struct_size < sizeof(desc)) return Invalid("unetd_op_desc is too small");
  *op = FindOp(desc.kind);
  if (*op == nullptr)
    return Unsupported("operator kind " + std::to_string(desc.kind) + " is not served");
  Answer answer =
      desc.reserved != 0 ? Unsupported("reserved field is set") : (*op)->supports(desc, state.isa);
  if (!answer.ok()) answer.text = std::string((*op)->name) + ": " + answer.text;
  return answer;
}

int32_t Supports(void* state, const unetd_op_desc* desc, unetd_error* why_not) {
  return Guard(why_not, [&]() -> Answer {
    const OpEntry* op;
    return Check(StateOf(state), *desc, &op);
  });
}

int32_t PackRecipe(void* state, const unetd_op_desc* desc, uint32_t weight, unetd_recipe* recipe,
                   unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const OpEntry* op;
    if (Answer a = Check(StateOf(state), *desc, &op); !a.ok()) return a;
    if (op->pack_recipe == nullptr) return Invalid(std::string(op->name) + " has no weights");
    *recipe = {};
    return op->pack_recipe(*desc, StateOf(state).isa, weight, recipe);
  });
}

int32_t Pack(void* state, const unetd_op_desc* desc, uint32_t weight, const unetd_recipe* recipe,
             const unetd_weight* source, const unetd_gang* gang, void* packed, unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const State& s = StateOf(state);
    const OpEntry* op;
    if (Answer a = Check(s, *desc, &op); !a.ok()) return a;
    if (op->pack_recipe == nullptr) return Invalid(std::string(op->name) + " has no weights");
    unetd_recipe expected = {};
    if (Answer a = op->pack_recipe(*desc, s.isa, weight, &expected); !a.ok()) return a;
    if (recipe->bytes != expected.bytes || std::strcmp(recipe->name, expected.name) != 0) {
      return Invalid(std::string("recipe is not this descriptor's, which is ") + expected.name);
    }
    return op->pack({*desc, s.isa, weight, *source, gang, packed});
  });
}

int32_t Prepare(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const OpEntry* op;
    if (Answer a = Check(StateOf(state), *desc, &op); !a.ok()) return a;
    std::unique_ptr<Kernel> kernel;
    if (Answer a = op->make(*desc, StateOf(state).isa, &kernel); !a.ok()) return a;
    *prepared = {};
    prepared->workspace_bytes = kernel->workspace_bytes;
    prepared->thread_workspace_bytes = kernel->thread_workspace_bytes;
    prepared->max_threads = kernel->max_threads;
    std::snprintf(prepared->description, sizeof(prepared->description), "%s",
                  kernel->description.c_str());
    const plugin::CallCheck call(*desc, kernel->workspace_bytes, kernel->thread_workspace_bytes);
    prepared->handle = new Handle{std::move(kernel), call};
    return Ok();
  });
}

int32_t Run(void*, const void* handle, const unetd_exec* exec, const unetd_args* args,
            unetd_error* error) {
  return Guard(error, [&]() -> Answer {
    const Handle& prepared = *static_cast<const Handle*>(handle);
    if (Answer a = prepared.call.Check(*exec, *args); !a.ok()) return a;
    if (exec->rows == 0) return Ok();
    if (IsCancelled(*exec)) return Cancelled();
    return prepared.kernel->Run(*exec, *args);
  });
}

void Release(void*, void* handle) { delete static_cast<Handle*>(handle); }

constexpr unetd_backend kBackend = {
    .struct_size = sizeof(unetd_backend),
    .abi_major = UNETD_ABI_MAJOR,
    .abi_minor = UNETD_ABI_MINOR,
    .name = "cpu",
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
}  // namespace unetd::cpu

extern "C" UNETD_EXPORT const unetd_backend* unetd_backend_entry(void) {
  return &unetd::cpu::kBackend;
}
