// Times the cpu plugin's attention at the shapes of SD 1.5 and SDXL: GFLOP/s (4 * heads * Q * K *
// head_dim a call), best and median of the repeats, by the clock and by the time that the threads
// had the CPU (what other programs on the machine do not disturb), with the CPU's model.
//   bench_cpu_attention [threads = 2] [auto | avx2 | avx512] [sdpa | math | sliced] [f32 | bf16]
//                       [cpu.so]
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "bench/spin_gang.h"

namespace {

using unetd::bench::SpinGang;

// Bytes as the plugin's domain gives them.
class Memory {
 public:
  Memory(const unetd_backend& backend, void* state, uint64_t bytes)
      : backend_(backend), state_(state), bytes_(bytes) {
    unetd_error error{};
    if (bytes != 0 && backend.allocate(state, bytes, &data_, &error) != UNETD_OK) {
      std::fprintf(stderr, "%s\n", error.text);
      std::exit(1);
    }
    if (bytes != 0) std::memset(data_, 0, bytes);
  }
  ~Memory() {
    if (bytes_ != 0) backend_.free(state_, data_, bytes_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  uint8_t* get() const { return static_cast<uint8_t*>(data_); }

 private:
  const unetd_backend& backend_;
  void* const state_;
  const uint64_t bytes_;
  void* data_ = nullptr;
};

std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, family, model, name;
  while (std::getline(info, line) && !line.empty()) {
    const std::string value = line.substr(std::min(line.size(), line.find(':') + 2));
    if (line.rfind("model name", 0) == 0) name = value;
    if (line.rfind("cpu family", 0) == 0) family = value;
    if (line.rfind("model\t", 0) == 0) model = value;
  }
  return name + " (family " + family + ", model " + model + ")";
}

struct Shape {
  uint32_t heads, head_dim;
  uint64_t queries, keys;
};

void Time(const unetd_backend& backend, void* state, SpinGang& gang, uint32_t algorithm,
          const char* name, int32_t dtype, const Shape& s) {
  const uint32_t channels = s.heads * s.head_dim;
  const bool self = s.queries == s.keys;
  const uint64_t stride = self ? 3 * channels : channels, key_stride = self ? stride : 2 * channels;
  unetd_op_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = UNETD_OP_ATTENTION;
  desc.weight_dtype = desc.sum_dtype = UNETD_DTYPE_F32;
  desc.compute_dtype = dtype;
  desc.args[UNETD_ARG_SRC0] = {s.queries, stride, channels, dtype};
  desc.args[UNETD_ARG_KEY] = {s.keys, key_stride, channels, dtype};
  desc.args[UNETD_ARG_VALUE] = {s.keys, key_stride, channels, dtype};
  desc.args[UNETD_ARG_DST] = {s.queries, channels, channels, dtype};
  desc.u.attention.algorithm = algorithm;
  desc.u.attention.heads = s.heads;
  desc.u.attention.head_dim = s.head_dim;
  desc.u.attention.slice_size = 1;
  desc.u.attention.scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
  unetd_error error{};
  unetd_prepared prepared{};
  if (backend.supports(state, &desc, &error) != UNETD_OK ||
      backend.prepare(state, &desc, &prepared, &error) != UNETD_OK) {
    std::printf("%-7s refused: %s\n", name, error.text);
    return;
  }
  const uint64_t count = s.queries * stride + s.keys * key_stride + s.queries * channels;
  const uint64_t bytes = dtype == UNETD_DTYPE_F32 ? 4 : 2;  // an element
  const Memory row(backend, state, count * bytes);
  uint32_t seed = 1;
  for (uint64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const float value = static_cast<float>(seed >> 8) / (1 << 23) - 1.0f;
    // A bfloat16 is a float's upper half.
    std::memcpy(row.get() + i * bytes, reinterpret_cast<const uint8_t*>(&value) + 4 - bytes, bytes);
  }
  const Memory workspace(backend, state, prepared.workspace_bytes);
  const uint64_t per_thread = (prepared.thread_workspace_bytes + 63) / 64 * 64;
  const Memory thread_workspace(backend, state, per_thread * gang.abi()->threads);
  uint8_t* rows[] = {row.get()};
  const uint32_t first[] = {0}, size[] = {1};
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = 1;
  exec.spaces[0] = rows;
  exec.group_first = first;
  exec.group_size = size;
  exec.gang = gang.abi();
  exec.workspace = workspace.get();
  exec.thread_workspace = thread_workspace.get();
  exec.thread_workspace_stride = per_thread;
  unetd_args args{};
  args.struct_size = sizeof(args);
  const uint64_t key_at = self ? channels : s.queries * stride;
  args.args[UNETD_ARG_SRC0] = {0, 0, 1};
  args.args[UNETD_ARG_KEY] = {key_at * bytes, 0, 1};
  args.args[UNETD_ARG_VALUE] = {(key_at + channels) * bytes, 0, 1};
  args.args[UNETD_ARG_DST] = {(s.queries * stride + s.keys * key_stride) * bytes, 0, 1};

  const double flops = 4.0 * s.heads * s.head_dim * static_cast<double>(s.queries * s.keys);
  const int repeats = std::clamp(static_cast<int>(4e10 / flops), 5, 400);
  std::vector<double> seconds, busy;
  for (int i = 0; i <= repeats; ++i) {
    gang.TakeBusy();
    const auto begin = std::chrono::steady_clock::now();
    if (backend.run(state, prepared.handle, &exec, &args, &error) != UNETD_OK) {
      std::printf("%-7s failed: %s\n", name, error.text);
      break;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i == 0) continue;  // the first one warms
    seconds.push_back(took.count());
    busy.push_back(gang.TakeBusy() / gang.abi()->threads);
  }
  backend.release(state, prepared.handle);
  if (seconds.empty()) return;
  std::sort(seconds.begin(), seconds.end());
  std::sort(busy.begin(), busy.end());
  const double median = seconds[seconds.size() / 2];
  const auto rate = [&](double time) { return flops / time * 1e-9; };
  std::printf(
      "%-7s heads %2u  Q %4llu  K %4llu  D %3u: %6.1f GFLOP/s best, %6.1f median (%.3f ms); busy: "
      "%6.1f best, %6.1f median\n",
      name, s.heads, static_cast<unsigned long long>(s.queries),
      static_cast<unsigned long long>(s.keys), s.head_dim, rate(seconds[0]), rate(median),
      median * 1e3, rate(busy[0]), rate(busy[busy.size() / 2]));
}

}  // namespace

int main(int argc, char** argv) {
  void* library =
      dlopen(argc > 5 ? argv[5] : UNETD_BUILD_DIR "/lib/unetd/cpu.so", RTLD_NOW | RTLD_LOCAL);
  void* symbol = library == nullptr ? nullptr : dlsym(library, UNETD_BACKEND_ENTRY);
  if (symbol == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  const unetd_backend& backend = *reinterpret_cast<unetd_backend_entry_fn>(symbol)();
  SpinGang gang(argc > 1 ? static_cast<uint32_t>(std::max(1, std::atoi(argv[1]))) : 2);
  const unetd_host host = {sizeof(host), 0, [](int32_t, const char*) {}};
  const unetd_option option = {"isa", argc > 2 ? argv[2] : "auto"};
  const bool bf16 = argc > 4 && std::strcmp(argv[4], "bf16") == 0;
  unetd_error error{};
  void* state = nullptr;
  if (backend.open(&host, &option, 1, &state, &error) != UNETD_OK) {
    std::fprintf(stderr, "%s\n", error.text);
    return 1;
  }
  std::printf("%s, %u threads, isa %s, %s\n", CpuModel().c_str(), gang.abi()->threads, option.value,
              bf16 ? "bf16" : "f32");
  const std::pair<uint32_t, const char*> algorithms[] = {{UNETD_ATTENTION_SDPA, "sdpa"},
                                                         {UNETD_ATTENTION_MATH, "math"},
                                                         {UNETD_ATTENTION_SLICED, "sliced"}};
  const Shape shapes[] = {{8, 40, 4096, 4096}, {8, 80, 1024, 1024}, {8, 160, 256, 256},
                          {8, 160, 64, 64},    {8, 40, 4096, 77},   {8, 80, 1024, 77},
                          {8, 160, 256, 77},   {10, 64, 4096, 4096}};
  for (const auto& [algorithm, name] : algorithms) {
    if (argc > 3 && std::strcmp(argv[3], name) != 0) continue;
    for (const Shape& shape : shapes) {
      Time(backend, state, gang, algorithm, name, bf16 ? UNETD_DTYPE_BF16 : UNETD_DTYPE_F32, shape);
    }
  }
  backend.close(state);
  return 0;
}
