#include "tests/cpu/op_runner.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

namespace unetd::test {
namespace {

constexpr uint8_t kGuard = 0xA5;
constexpr uint64_t kGuardBytes = 256;

// Elements from the first to the last of a view. A planar one (stride 0) is dense.
uint64_t Span(const unetd_view& view) {
  return view.stride == 0 ? view.tokens * view.channels
                          : (view.tokens - 1) * view.stride + view.channels;
}
uint64_t At(const unetd_view& view, uint64_t token, uint64_t channel) {
  return view.stride == 0 ? channel * view.tokens + token : token * view.stride + channel;
}

// 64-byte aligned bytes with a guard behind them.
class Memory {
 public:
  explicit Memory(uint64_t bytes, uint8_t fill)
      : bytes_(bytes), data_(static_cast<uint8_t*>(std::aligned_alloc(64, Whole(bytes)))) {
    std::memset(data_, fill, bytes);
    std::memset(data_ + bytes, kGuard, Whole(bytes) - bytes);
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  bool intact() const {
    for (uint64_t i = bytes_; i < Whole(bytes_); ++i) {
      if (data_[i] != kGuard) return false;
    }
    return true;
  }

 private:
  static uint64_t Whole(uint64_t bytes) { return (bytes + kGuardBytes + 63) / 64 * 64; }
  uint64_t bytes_;
  uint8_t* data_;
};

// unetd_gang on threads made for each call; tasks go to whoever comes first.
struct Gang {
  explicit Gang(uint32_t threads) {
    abi.struct_size = sizeof(abi);
    abi.threads = threads;
    abi.self = this;
    abi.parallel = [](void* self, uint32_t tasks, unetd_task fn, void* context) {
      const uint32_t threads = static_cast<Gang*>(self)->abi.threads;
      std::atomic<uint32_t> next{0};
      const auto work = [&](uint32_t thread) {
        for (uint32_t task = next++; task < tasks; task = next++) fn(context, task, thread);
      };
      std::vector<std::thread> others;
      for (uint32_t t = 1; t < threads; ++t) others.emplace_back(work, t);
      work(0);
      for (std::thread& other : others) other.join();
    };
  }
  unetd_gang abi{};
};

// Where the arguments of a row lie in its slot.
struct Slot {
  std::map<uint32_t, uint64_t> offsets;
  uint64_t bytes = 0;
};
Slot LayOut(const Call& call) {
  Slot slot;
  for (const auto& [id, arg] : call.args) {
    if (arg.inside >= 0) continue;
    uint64_t elements = Span(arg.view);
    for (const auto& [other_id, other] : call.args) {
      if (other.inside == static_cast<int32_t>(id)) {
        elements = std::max(elements, other.shift + Span(other.view));
      }
    }
    const uint32_t size = Bytes(arg.view.dtype);
    slot.offsets[id] = slot.bytes + arg.shift * size;
    slot.bytes = (slot.offsets[id] + elements * size + kGuardBytes + 63) / 64 * 64;
  }
  for (const auto& [id, arg] : call.args) {
    if (arg.inside < 0) continue;
    slot.offsets[id] =
        slot.offsets.at(static_cast<uint32_t>(arg.inside)) + arg.shift * Bytes(arg.view.dtype);
  }
  return slot;
}

std::string CompareOutside(const Call& call, const Slot& slot, const Memory& before,
                           const Memory& after) {
  std::vector<bool> written(after.bytes());
  const Arg& dst = call.args.at(UNETD_ARG_DST);
  const uint32_t size = Bytes(dst.view.dtype);
  for (uint64_t t = 0; t < dst.view.tokens; ++t) {
    for (uint64_t c = 0; c < dst.view.channels; ++c) {
      const uint64_t at = slot.offsets.at(UNETD_ARG_DST) + At(dst.view, t, c) * size;
      for (uint32_t i = 0; i < size; ++i) written[at + i] = true;
    }
  }
  for (uint64_t i = 0; i < after.bytes(); ++i) {
    if (!written[i] && before.data()[i] != after.data()[i]) {
      return "byte " + std::to_string(i) + " of the slot, outside dst";
    }
  }
  return after.intact() ? "" : "bytes behind the slot";
}

unetd_op_desc Filled(const Call& call) {
  unetd_op_desc desc = call.desc;
  for (const auto& [id, arg] : call.args) desc.args[id] = arg.view;
  return desc;
}

}  // namespace

CpuBackend::CpuBackend(const std::string& isa) {
  const char* path = std::getenv("UNETD_CPU_PLUGIN");
#ifdef UNETD_BUILD_DIR
  if (path == nullptr) path = UNETD_BUILD_DIR "/lib/unetd/cpu.so";
#endif
  void* library = path == nullptr ? nullptr : dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    error_ = path == nullptr ? "UNETD_CPU_PLUGIN is not set" : dlerror();
    return;
  }
  const auto entry = reinterpret_cast<unetd_backend_entry_fn>(dlsym(library, UNETD_BACKEND_ENTRY));
  if (entry == nullptr) {
    error_ = dlerror();
    return;
  }
  table_ = entry();
  static const unetd_host host = {sizeof(unetd_host), 0, [](int32_t, const char*) {}};
  const unetd_option options[] = {{"isa", isa.c_str()}};
  unetd_error error{};
  if (table_->open(&host, options, 1, &state_, &error) != UNETD_OK) {
    state_ = nullptr;
    error_ = error.text;
  }
}
CpuBackend::~CpuBackend() {
  if (state_ != nullptr) table_->close(state_);
}

std::vector<std::string> Isas() {
  std::vector<std::string> isas;
  if (__builtin_cpu_supports("avx2")) isas.push_back("avx2");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    isas.push_back("avx512");
  }
  return isas;
}
std::vector<std::string> MatrixIsas() {
  std::vector<std::string> isas = Isas();
  if (!isas.empty() && isas.back() == "avx512" && __builtin_cpu_supports("avx512bf16")) {
    isas.push_back("avx512_bf16");
  }
  return isas;
}

Outcome Ask(const CpuBackend& backend, const Call& call) {
  Outcome outcome;
  const unetd_op_desc desc = Filled(call);
  unetd_error error{};
  outcome.code = backend.table().supports(backend.state(), &desc, &error);
  outcome.why = error.text;
  return outcome;
}

Outcome RunOp(const CpuBackend& backend, const Call& call) {
  const unetd_op_desc desc = Filled(call);
  Outcome outcome = Ask(backend, call);
  if (outcome.code != UNETD_OK) return outcome;
  unetd_error error{};
  const auto failed = [&](int32_t code) {
    outcome.code = code;
    outcome.why = error.text;
    return code != UNETD_OK;
  };
  const Gang gang(call.threads);
  unetd_args args{};
  args.struct_size = sizeof(args);
  std::vector<std::unique_ptr<Memory>> packed;
  for (const auto& [index, weight] : call.weights) {
    std::vector<uint8_t> bytes(weight.values.size() * Bytes(weight.dtype));
    for (uint64_t i = 0; i < weight.values.size(); ++i) {
      Put(bytes.data() + i * Bytes(weight.dtype), weight.dtype, weight.values[i]);
    }
    unetd_weight source{bytes.data(), weight.dtype, static_cast<uint32_t>(weight.dims.size()), {}};
    std::copy(weight.dims.begin(), weight.dims.end(), source.dims);
    unetd_recipe recipe{};
    if (failed(backend.table().pack_recipe(backend.state(), &desc, index, &recipe, &error))) {
      return outcome;
    }
    packed.push_back(std::make_unique<Memory>(recipe.bytes, 0xFF));
    if (failed(backend.table().pack(backend.state(), &desc, index, &recipe, &source, &gang.abi,
                                    packed.back()->data(), &error))) {
      return outcome;
    }
    if (!packed.back()->intact()) outcome.damage = "bytes behind a packed weight";
    args.weights[index] = packed.back()->data();
    args.weight_count = std::max(args.weight_count, index + 1);
  }
  unetd_prepared prepared{};
  if (failed(backend.table().prepare(backend.state(), &desc, &prepared, &error))) return outcome;
  outcome.workspace_bytes = prepared.workspace_bytes;
  outcome.thread_workspace_bytes = prepared.thread_workspace_bytes;
  outcome.description = prepared.description;

  const Slot slot = LayOut(call);
  std::vector<std::unique_ptr<Memory>> slots, before;
  for (uint32_t row = 0; row < call.rows; ++row) {
    slots.push_back(std::make_unique<Memory>(slot.bytes, 0xFF));
  }
  std::vector<uint8_t*> addresses(call.rows);
  std::vector<Memory*> of_row(call.rows);
  for (uint32_t row = 0; row < call.rows; ++row) {
    of_row[row] = slots[call.reverse_slots ? call.rows - 1 - row : row].get();
    addresses[row] = of_row[row]->data();
    for (const auto& [id, arg] : call.args) {
      if (arg.values.empty()) continue;
      uint8_t* base = addresses[row] + slot.offsets.at(id);
      for (uint64_t i = 0; i < arg.values[row].size(); ++i) {
        const uint64_t t = i / arg.view.channels, c = i % arg.view.channels;
        Put(base + At(arg.view, t, c) * Bytes(arg.view.dtype), arg.view.dtype, arg.values[row][i]);
      }
    }
    before.push_back(std::make_unique<Memory>(slot.bytes, 0));
    std::memcpy(before.back()->data(), addresses[row], slot.bytes);
  }
  for (const auto& [id, arg] : call.args) args.args[id] = {slot.offsets.at(id), 0, 1};

  std::vector<uint32_t> first = call.group_first, size = call.group_size;
  for (uint32_t row = 0; first.size() < call.rows; ++row) {
    first.push_back(row);
    size.push_back(1);
  }
  Memory workspace(prepared.workspace_bytes, 0xFF);
  const uint64_t stride = (prepared.thread_workspace_bytes + kGuardBytes + 63) / 64 * 64;
  Memory thread_workspace(stride * call.threads, kGuard);
  for (uint32_t t = 0; t < call.threads; ++t) {
    std::memset(thread_workspace.data() + t * stride, 0xFF, prepared.thread_workspace_bytes);
  }
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = call.rows;
  exec.spaces[0] = addresses.data();
  exec.group_first = first.data();
  exec.group_size = size.data();
  exec.gang = &gang.abi;
  exec.workspace = workspace.data();
  exec.thread_workspace = thread_workspace.data();
  exec.thread_workspace_stride = stride;
  const bool bad =
      failed(backend.table().run(backend.state(), prepared.handle, &exec, &args, &error));
  backend.table().release(backend.state(), prepared.handle);
  if (bad) return outcome;

  if (!workspace.intact()) outcome.damage = "bytes behind the workspace";
  for (uint32_t t = 0; t < call.threads; ++t) {
    for (uint64_t i = prepared.thread_workspace_bytes; i < stride; ++i) {
      if (thread_workspace.data()[t * stride + i] != kGuard) {
        outcome.damage = "bytes behind a thread's workspace";
      }
    }
  }
  const Arg& dst = call.args.at(UNETD_ARG_DST);
  const uint32_t bytes = Bytes(dst.view.dtype);
  for (uint32_t row = 0; row < call.rows; ++row) {
    const std::string damage = CompareOutside(call, slot, *before[row], *of_row[row]);
    if (!damage.empty()) outcome.damage = damage;
    std::vector<uint8_t> raw;
    std::vector<double> values;
    for (uint64_t t = 0; t < dst.view.tokens; ++t) {
      for (uint64_t c = 0; c < dst.view.channels; ++c) {
        const uint8_t* p =
            addresses[row] + slot.offsets.at(UNETD_ARG_DST) + At(dst.view, t, c) * bytes;
        raw.insert(raw.end(), p, p + bytes);
        values.push_back(Get(p, dst.view.dtype));
      }
    }
    outcome.raw.push_back(std::move(raw));
    outcome.values.push_back(std::move(values));
  }
  return outcome;
}

}  // namespace unetd::test
