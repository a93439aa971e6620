// Memory and time of self-attention by algorithm and number of tokens: math and sliced keep scores,
// memory_efficient keeps none. The cpu plugin serves the first two, the memory_efficient plugin the
// last; 8 heads of 40 channels in float32, 2 heads from 16384 tokens on (math would need 8 GiB).
//   bench_attention_memory [--threads N] [--isa auto|avx2|avx512] [--repeats N] [--most TOKENS]
//                          [--json]
// "workspace" is what the plugin asks for, its threads' included; "peak" is by how much the process
// grew while it ran, as the kernel counts pages (inputs and output lie there before); time is the
// median of the repeats.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "bench/spin_gang.h"

namespace {

using unetd::bench::SpinGang;

constexpr uint32_t kHeadDim = 40;
constexpr double kMiB = 1024.0 * 1024.0;

struct Flags {
  uint32_t threads = 2;
  int repeats = 3;
  uint64_t most = 16384;
  bool json = false;
  std::string isa = "auto";
};

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_attention_memory: %s\n", text.c_str());
  std::exit(1);
}

// The number after `key` on the first such line of a /proc file, in KiB; 0: there is none.
uint64_t ProcKib(const char* file, const std::string& key) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key, 0) == 0) return std::strtoull(line.c_str() + key.size(), nullptr, 10);
  }
  return 0;
}

std::string CpuModel() {
  std::ifstream lines("/proc/cpuinfo");
  std::string name, family, model;
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    const size_t colon = line.find(':');
    const std::string value = colon + 2 < line.size() ? line.substr(colon + 2) : "";
    if (line.rfind("model name", 0) == 0) name = value;
    if (line.rfind("cpu family", 0) == 0) family = value;
    if (line.rfind("model\t", 0) == 0) model = value;
  }
  return name + " (family " + family + ", model " + model + ")";
}

// Zeros that the process holds only as far as they are touched, and gives back at once.
class Pages {
 public:
  explicit Pages(uint64_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) Die("cannot map " + std::to_string(bytes) + " bytes");
  }
  ~Pages() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  uint8_t* get() const { return static_cast<uint8_t*>(data_); }

 private:
  const uint64_t bytes_;
  void* data_ = nullptr;
};

class Plugin {
 public:
  Plugin(const std::string& name, const std::string& isa) {
    const std::string path = UNETD_BUILD_DIR "/lib/unetd/" + name + ".so";
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* symbol = library == nullptr ? nullptr : dlsym(library, UNETD_BACKEND_ENTRY);
    if (symbol == nullptr) Die(dlerror());
    table_ = reinterpret_cast<unetd_backend_entry_fn>(symbol)();
    static const unetd_host host = {sizeof(host), 0, [](int32_t, const char*) {}};
    const unetd_option option = {"isa", isa.c_str()};
    unetd_error error{};
    if (table_->open(&host, &option, 1, &state_, &error) != UNETD_OK) Die(error.text);
  }
  ~Plugin() { table_->close(state_); }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  const unetd_backend& table() const { return *table_; }
  void* state() const { return state_; }

 private:
  const unetd_backend* table_ = nullptr;
  void* state_ = nullptr;
};

struct Algorithm {
  const char* name;
  uint32_t number;
  const Plugin* plugin;
};

struct Result {
  std::string algorithm, kernel;
  uint64_t tokens = 0;
  uint32_t heads = 0;
  double workspace_mib = 0, peak_mib = -1, ms = 0, gflops = 0;
  std::string skipped;  // why
};

unetd_op_desc Desc(const Algorithm& algorithm, uint64_t tokens, uint32_t heads) {
  const uint32_t channels = heads * kHeadDim;
  unetd_op_desc desc{};
  desc.struct_size = sizeof(desc);
  desc.kind = UNETD_OP_ATTENTION;
  desc.compute_dtype = desc.sum_dtype = UNETD_DTYPE_F32;
  // q, k and v side by side, as one linear writes them.
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE}) {
    desc.args[arg] = {tokens, 3 * channels, channels, UNETD_DTYPE_F32};
  }
  desc.args[UNETD_ARG_DST] = {tokens, channels, channels, UNETD_DTYPE_F32};
  desc.u.attention.algorithm = algorithm.number;
  desc.u.attention.heads = heads;
  desc.u.attention.head_dim = kHeadDim;
  desc.u.attention.slice_size = 1;
  desc.u.attention.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  return desc;
}

// Runs it `repeats` times in pages of its own; fills peak and time.
void RunPrepared(const Algorithm& algorithm, const unetd_prepared& prepared, const SpinGang& gang,
                 uint8_t* row, int repeats, Result* result) {
  const uint64_t channels = uint64_t{result->heads} * kHeadDim;
  const uint64_t stride = (prepared.thread_workspace_bytes + 63) / 64 * 64;
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak counts from here
  const uint64_t before = ProcKib("/proc/self/status", "VmRSS:");
  const Pages workspace(prepared.workspace_bytes), scratch(stride * gang.abi()->threads);
  uint8_t* rows[] = {row};
  const uint32_t first[] = {0}, size[] = {1};
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = 1;
  exec.spaces[UNETD_SPACE_ARENA] = rows;
  exec.group_first = first;
  exec.group_size = size;
  exec.gang = gang.abi();
  exec.workspace = workspace.get();
  exec.thread_workspace = scratch.get();
  exec.thread_workspace_stride = stride;
  unetd_args args{};
  args.struct_size = sizeof(args);
  args.args[UNETD_ARG_SRC0] = {0, 0, 1};
  args.args[UNETD_ARG_KEY] = {channels * sizeof(float), 0, 1};
  args.args[UNETD_ARG_VALUE] = {2 * channels * sizeof(float), 0, 1};
  args.args[UNETD_ARG_DST] = {3 * channels * result->tokens * sizeof(float), 0, 1};
  std::vector<double> ms;
  for (int i = 0; i <= repeats; ++i) {
    unetd_error error{};
    const auto begin = std::chrono::steady_clock::now();
    const int32_t code = algorithm.plugin->table().run(algorithm.plugin->state(), prepared.handle,
                                                       &exec, &args, &error);
    if (code != UNETD_OK) Die(error.text);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i > 0) ms.push_back(took.count());  // the first touches the pages
  }
  const uint64_t peak = ProcKib("/proc/self/status", "VmHWM:");
  if (peak >= before && before > 0) result->peak_mib = static_cast<double>(peak - before) / 1024;
  std::sort(ms.begin(), ms.end());
  result->ms = ms[ms.size() / 2];
  const double tokens = static_cast<double>(result->tokens);
  result->gflops = 4.0 * static_cast<double>(channels) * tokens * tokens / result->ms * 1e-6;
}

Result Measure(const Algorithm& algorithm, uint64_t tokens, const SpinGang& gang,
               const Flags& flags) {
  Result result;
  result.algorithm = algorithm.name;
  result.tokens = tokens;
  result.heads = tokens >= 16384 ? 2 : 8;
  const unetd_op_desc desc = Desc(algorithm, tokens, result.heads);
  const Plugin& plugin = *algorithm.plugin;
  unetd_error error{};
  unetd_prepared prepared{};
  if (plugin.table().prepare(plugin.state(), &desc, &prepared, &error) != UNETD_OK) {
    result.skipped = error.text;
    return result;
  }
  result.kernel = prepared.description;
  const uint64_t workspace =
      prepared.workspace_bytes + flags.threads * prepared.thread_workspace_bytes;
  result.workspace_mib = static_cast<double>(workspace) / kMiB;
  const uint64_t values = 4 * tokens * result.heads * kHeadDim;  // q, k, v and dst
  const uint64_t free_kib = ProcKib("/proc/meminfo", "MemAvailable:");
  if (workspace / 1024 + values / 256 + 256 * 1024 > free_kib) {
    result.skipped = "needs " + std::to_string(workspace >> 20) + " MiB, of which " +
                     std::to_string(free_kib / 1024) + " are free";
  } else {
    const Pages row(values * sizeof(float));
    auto* data = reinterpret_cast<float*>(row.get());
    uint32_t seed = 1;
    for (uint64_t i = 0; i < values; ++i) {
      seed = seed * 1664525u + 1013904223u;
      data[i] = static_cast<float>(seed >> 8) / (1 << 23) - 1.0f;
    }
    RunPrepared(algorithm, prepared, gang, row.get(), flags.repeats, &result);
  }
  plugin.table().release(plugin.state(), prepared.handle);
  return result;
}

void PrintText(const Result& r) {
  std::printf("%6llu %5u  %-17s %12.2f ", static_cast<unsigned long long>(r.tokens), r.heads,
              r.algorithm.c_str(), r.workspace_mib);
  if (!r.skipped.empty()) {
    std::printf("skipped: %s\n", r.skipped.c_str());
  } else {
    std::printf("%12.2f %10.2f %9.1f  %s\n", r.peak_mib, r.ms, r.gflops, r.kernel.c_str());
  }
  std::fflush(stdout);
}

std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text)
    quoted += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return quoted + "\"";
}

void PrintJson(const Flags& flags, const std::vector<Result>& results) {
  std::printf(
      "{\"cpu\": %s, \"threads\": %u, \"isa\": %s, \"head_dim\": %u, \"dtype\": \"float32\",",
      Quote(CpuModel()).c_str(), flags.threads, Quote(flags.isa).c_str(), kHeadDim);
  std::printf(" \"repeats\": %d, \"results\": [", flags.repeats);
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    std::printf("%s\n  {\"tokens\": %llu, \"heads\": %u, \"algorithm\": %s, \"kernel\": %s, ",
                i > 0 ? "," : "", static_cast<unsigned long long>(r.tokens), r.heads,
                Quote(r.algorithm).c_str(), Quote(r.kernel).c_str());
    std::printf("\"workspace_mib\": %.3f, ", r.workspace_mib);
    if (!r.skipped.empty()) {
      std::printf("\"skipped\": %s}", Quote(r.skipped).c_str());
    } else {
      std::printf("\"peak_mib\": %.3f, \"median_ms\": %.3f, \"gflops\": %.1f}", r.peak_mib, r.ms,
                  r.gflops);
    }
  }
  std::printf("\n]}\n");
}

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--json") {
      flags.json = true;
      continue;
    }
    if (i + 1 == argc) Die("unknown flag " + flag + ", or its value is missing");
    const char* value = argv[++i];
    if (flag == "--isa") {
      flags.isa = value;
    } else if (flag == "--threads") {
      flags.threads = static_cast<uint32_t>(std::max(1, std::atoi(value)));
    } else if (flag == "--repeats") {
      flags.repeats = std::max(1, std::atoi(value));
    } else if (flag == "--most") {
      flags.most = std::strtoull(value, nullptr, 10);
    } else {
      Die("unknown flag " + flag);
    }
  }
  return flags;
}

}  // namespace

int main(int argc, char** argv) {
  const Flags flags = ParseFlags(argc, argv);
  const Plugin cpu("cpu", flags.isa), memory_efficient("memory_efficient", flags.isa);
  SpinGang gang(flags.threads);
  const Algorithm algorithms[] = {
      {"math", UNETD_ATTENTION_MATH, &cpu},
      {"sliced (1 head)", UNETD_ATTENTION_SLICED, &cpu},
      {"memory_efficient", UNETD_ATTENTION_MEMORY_EFFICIENT, &memory_efficient}};
  if (!flags.json) {
    std::printf("%s, %u threads, isa %s; heads of %u, float32\n", CpuModel().c_str(), flags.threads,
                flags.isa.c_str(), kHeadDim);
    std::printf("%6s %5s  %-17s %12s %12s %10s %9s  %s\n", "tokens", "heads", "algorithm",
                "workspace MiB", "peak MiB", "ms", "GFLOP/s", "kernel");
  }
  std::vector<Result> results;
  for (uint64_t tokens = 1024; tokens <= flags.most; tokens *= 2) {
    for (const Algorithm& algorithm : algorithms) {
      results.push_back(Measure(algorithm, tokens, gang, flags));
      if (!flags.json) PrintText(results.back());
    }
  }
  if (flags.json) PrintJson(flags, results);
  return 0;
}
