// Times the cpu backend's matrix kernels on the layers of a Stable Diffusion UNet, with cold
// weights (every run takes another copy), against the FMA peak that the same threads reach just
// before.
//   bench_cpu_kernels [--threads N] [--rows N] [--runs N] [--cold MIB] [--only TEXT]
//                     [--isa auto|avx2|avx512] [--conv auto|direct|winograd] [--dtype f32|f16|bf16]
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "bench/fma_peak.h"
#include "bench/spin_gang.h"

namespace {

using unetd::bench::MeasurePeak;
using unetd::bench::SpinGang;

struct Flags {
  uint32_t threads = 2;
  uint32_t rows = 1;
  int runs = 12;
  uint64_t cold_mib = 256;  // of weight copies, well beyond any cache
  int32_t dtype = UNETD_DTYPE_F32;
  std::string isa = "auto";
  uint32_t conv = UNETD_CONV_AUTO;
  std::string only;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_cpu_kernels: %s\n", text.c_str());
  std::exit(1);
}

// ---- the layers ----
struct Shape {
  std::string name;
  unetd_op_desc desc;
  std::vector<std::vector<uint64_t>> weights;  // dims
  double flops;                                // one row
};

unetd_view View(uint64_t tokens, uint32_t channels, int32_t dtype) {
  return {tokens, channels, channels, dtype};
}

unetd_op_desc Desc(uint32_t kind, int32_t dtype) {
  unetd_op_desc desc = {};
  desc.struct_size = sizeof(desc);
  desc.kind = kind;
  desc.weight_dtype = dtype;
  desc.sum_dtype = UNETD_DTYPE_F32;
  desc.compute_dtype = dtype == UNETD_DTYPE_BF16 ? dtype : UNETD_DTYPE_F32;  // as the host asks
  return desc;
}

Shape Conv(uint32_t in, uint32_t out, uint32_t side, uint32_t kernel, uint32_t stride,
           int32_t dtype) {
  Shape shape;
  const uint32_t pad = kernel / 2, out_side = (side + 2 * pad - kernel) / stride + 1;
  shape.name = "conv" + std::to_string(kernel) + "x" + std::to_string(kernel) +
               (stride > 1 ? "/" + std::to_string(stride) : "") + " " + std::to_string(in) + "->" +
               std::to_string(out) + " @" + std::to_string(side);
  shape.desc = Desc(UNETD_OP_CONV2D, dtype);
  shape.desc.args[UNETD_ARG_SRC0] = View(side * side, in, dtype);
  shape.desc.args[UNETD_ARG_DST] = View(out_side * out_side, out, dtype);
  shape.desc.u.conv2d = {side, side, out_side, out_side, kernel, kernel, stride, pad, pad, pad,
                         pad,  0,    0,        1,        0,      1.0f,   0,      0,   0};
  shape.weights = {{out, in, kernel, kernel}, {out}};
  shape.flops = 2.0 * out_side * out_side * in * out * kernel * kernel;
  return shape;
}

Shape Linear(uint32_t tokens, uint32_t in, uint32_t rows, uint32_t activation, int32_t dtype) {
  Shape shape;
  const bool geglu = activation == UNETD_ACT_GEGLU;
  shape.name = std::string(geglu ? "geglu " : "linear ") + std::to_string(tokens) + "x" +
               std::to_string(in) + "x" + std::to_string(rows);
  shape.desc = Desc(UNETD_OP_LINEAR, dtype);
  shape.desc.args[UNETD_ARG_SRC0] = View(tokens, in, dtype);
  shape.desc.args[UNETD_ARG_DST] = View(tokens, geglu ? rows / 2 : rows, dtype);
  shape.desc.u.linear = {1, {rows}, 1, activation, 1.0f};
  shape.weights = {{rows, in}, {rows}};
  shape.flops = 2.0 * tokens * in * rows;
  return shape;
}

std::vector<Shape> Shapes(int32_t dtype) {
  return {
      Conv(4, 320, 64, 3, 1, dtype),
      Conv(320, 320, 64, 3, 1, dtype),
      Conv(960, 320, 64, 3, 1, dtype),
      Conv(320, 4, 64, 3, 1, dtype),
      Conv(320, 320, 64, 3, 2, dtype),
      Conv(640, 640, 32, 3, 1, dtype),
      Conv(1280, 1280, 16, 3, 1, dtype),
      Conv(2560, 1280, 16, 3, 1, dtype),
      Conv(1280, 1280, 8, 3, 1, dtype),
      Conv(320, 320, 64, 1, 1, dtype),
      Conv(640, 640, 32, 1, 1, dtype),
      Conv(1920, 1280, 16, 1, 1, dtype),
      Linear(4096, 320, 320, 0, dtype),
      Linear(4096, 320, 1280, 0, dtype),
      Linear(4096, 320, 2560, UNETD_ACT_GEGLU, dtype),
      Linear(4096, 1280, 320, 0, dtype),
      Linear(1024, 640, 640, 0, dtype),
      Linear(1024, 640, 5120, UNETD_ACT_GEGLU, dtype),
      Linear(256, 1280, 1280, 0, dtype),
      Linear(256, 1280, 10240, UNETD_ACT_GEGLU, dtype),
      Linear(256, 5120, 1280, 0, dtype),
      Linear(64, 1280, 1280, 0, dtype),
      Linear(77, 768, 1280, 0, dtype),
      Linear(1, 320, 1280, UNETD_ACT_SILU, dtype),
      Linear(1, 1280, 1280, 0, dtype),
  };
}

// ---- running ----
struct Plugin {
  const unetd_backend* table;
  void* state;
  unetd_error error;

  void Check(int32_t code, const std::string& what) const {
    if (code != UNETD_OK) Die(what + ": " + error.text);
  }
  uint8_t* Allocate(uint64_t bytes) {
    void* address = nullptr;
    Check(table->allocate(state, bytes, &address, &error), "allocate");
    return static_cast<uint8_t*>(address);
  }
};

// Small numbers of either sign, of the dtype's size.
void Fill(uint8_t* data, uint64_t count, int32_t dtype) {
  uint32_t x = 12345;
  for (uint64_t i = 0; i < count; ++i) {
    x = x * 1664525 + 1013904223;
    if (dtype == UNETD_DTYPE_F32) {
      reinterpret_cast<float*>(data)[i] = static_cast<float>(static_cast<int32_t>(x)) * 1e-10f;
    } else {  // sign, an exponent below 1, some fraction
      const uint16_t one = dtype == UNETD_DTYPE_F16 ? 0x2800 : 0x3d00;
      reinterpret_cast<uint16_t*>(data)[i] =
          static_cast<uint16_t>((x >> 16 & 0x8000) | (one + (x >> 20 & 0x7f)));
    }
  }
}

void Time(Plugin* plugin, SpinGang* gang, const Flags& flags, Shape shape, double peak) {
  const unetd_backend& table = *plugin->table;
  unetd_op_desc& desc = shape.desc;
  unetd_error& error = plugin->error;
  unetd_args args = {};
  args.struct_size = sizeof(args);
  args.weight_count = static_cast<uint32_t>(shape.weights.size());
  std::vector<std::vector<uint8_t*>> copies;
  std::vector<std::pair<uint8_t*, uint64_t>> owned;
  double pack_seconds = 0, pack_bytes = 0;
  for (uint32_t w = 0; w < shape.weights.size(); ++w) {
    unetd_recipe recipe = {};
    plugin->Check(table.pack_recipe(plugin->state, &desc, w, &recipe, &error), shape.name);
    unetd_weight source = {};
    source.dtype = UNETD_DTYPE_F32;
    uint64_t count = 1;
    for (const uint64_t dim : shape.weights[w]) source.dims[source.rank++] = dim, count *= dim;
    std::vector<float> values(count);
    Fill(reinterpret_cast<uint8_t*>(values.data()), count, UNETD_DTYPE_F32);
    source.data = values.data();
    const uint64_t n =
        w > 0 ? 1 : std::clamp<uint64_t>((flags.cold_mib << 20) / recipe.bytes, 1, 64);
    copies.emplace_back();
    for (uint64_t i = 0; i < n; ++i) {
      uint8_t* packed = plugin->Allocate(recipe.bytes);
      std::memset(packed, 0, recipe.bytes);
      plugin->Check(
          table.pack(plugin->state, &desc, w, &recipe, &source, gang->abi(), packed, &error),
          shape.name);
      if (w == 0)
        pack_seconds += gang->TakeBusy() / flags.threads,
            pack_bytes += static_cast<double>(4 * count);
      copies.back().push_back(packed);
      owned.emplace_back(packed, recipe.bytes);
    }
  }
  unetd_prepared prepared = {};
  plugin->Check(table.prepare(plugin->state, &desc, &prepared, &error), shape.name);

  std::vector<std::vector<uint8_t*>> spaces(UNETD_SPACE_COUNT,
                                            std::vector<uint8_t*>(flags.rows, nullptr));
  const auto bytes_of = [](const unetd_view& view) {
    return view.tokens * view.stride * (view.dtype == UNETD_DTYPE_F32 ? 4 : 2);
  };
  const uint64_t in = bytes_of(desc.args[UNETD_ARG_SRC0]), out = bytes_of(desc.args[UNETD_ARG_DST]);
  for (uint32_t row = 0; row < flags.rows; ++row) {
    for (const auto& [space, bytes] :
         {std::pair{UNETD_SPACE_INPUT, in}, {UNETD_SPACE_OUTPUT, out}}) {
      uint8_t* block = plugin->Allocate(bytes);
      owned.emplace_back(block, bytes);
      Fill(block, bytes / (flags.dtype == UNETD_DTYPE_F32 ? 4 : 2), flags.dtype);
      spaces[static_cast<size_t>(space)][row] = block;
    }
  }
  args.args[UNETD_ARG_SRC0] = {0, UNETD_SPACE_INPUT, 1};
  args.args[UNETD_ARG_DST] = {0, UNETD_SPACE_OUTPUT, 1};
  unetd_exec exec = {};
  exec.struct_size = sizeof(exec);
  exec.rows = flags.rows;
  for (int s = 0; s < UNETD_SPACE_COUNT; ++s)
    exec.spaces[s] = spaces[static_cast<size_t>(s)].data();
  exec.gang = gang->abi();
  exec.thread_workspace_stride = prepared.thread_workspace_bytes;
  const uint64_t scratch = prepared.thread_workspace_bytes * flags.threads + 64;
  exec.thread_workspace = plugin->Allocate(scratch);
  owned.emplace_back(exec.thread_workspace, scratch);
  exec.workspace = plugin->Allocate(prepared.workspace_bytes);
  owned.emplace_back(exec.workspace, prepared.workspace_bytes);

  std::vector<double> seconds, busy;
  for (int run = 0; run < flags.runs + 2; ++run) {
    for (uint32_t w = 0; w < copies.size(); ++w) {
      args.weights[w] = copies[w][static_cast<size_t>(run) % copies[w].size()];
    }
    gang->TakeBusy();
    const double start = Now();
    plugin->Check(table.run(plugin->state, prepared.handle, &exec, &args, &error), shape.name);
    if (run < 2) continue;
    seconds.push_back(Now() - start);
    busy.push_back(gang->TakeBusy());
  }
  std::sort(seconds.begin(), seconds.end());
  std::sort(busy.begin(), busy.end());
  const double flops = shape.flops * flags.rows;
  const auto rate = [&](double time) { return flops * flags.threads / time / 1e9; };
  const double usual = rate(busy[busy.size() / 2]);
  std::printf(
      "%-26s best %8.3f ms, median %8.3f; busy: best %7.1f, median %7.1f GFLOP/s, %5.1f %%; pack "
      "%5.2f GB/s\n",
      shape.name.c_str(), seconds.front() * 1e3, seconds[seconds.size() / 2] * 1e3,
      rate(busy.front()), usual, 100 * usual / peak, pack_bytes / pack_seconds / 1e9);
  table.release(plugin->state, prepared.handle);
  for (const auto& [address, bytes] : owned) table.free(plugin->state, address, bytes);
}

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (key == "--threads") {
      flags.threads = static_cast<uint32_t>(std::max(1, std::atoi(value.c_str())));
    } else if (key == "--rows") {
      flags.rows = static_cast<uint32_t>(std::max(1, std::atoi(value.c_str())));
    } else if (key == "--runs") {
      flags.runs = std::max(1, std::atoi(value.c_str()));
    } else if (key == "--cold") {
      flags.cold_mib = static_cast<uint64_t>(std::max(0, std::atoi(value.c_str())));
    } else if (key == "--isa") {
      flags.isa = value;
    } else if (key == "--conv" && (value == "auto" || value == "direct" || value == "winograd")) {
      flags.conv = value == "auto"     ? UNETD_CONV_AUTO
                   : value == "direct" ? UNETD_CONV_DIRECT
                                       : UNETD_CONV_WINOGRAD;
    } else if (key == "--only") {
      flags.only = value;
    } else if (key == "--dtype" && (value == "f32" || value == "f16" || value == "bf16")) {
      flags.dtype = value == "f32"   ? UNETD_DTYPE_F32
                    : value == "f16" ? UNETD_DTYPE_F16
                                     : UNETD_DTYPE_BF16;
    } else {
      Die("unknown flag " + key + " " + value);
    }
  }
  return flags;
}

}  // namespace

int main(int argc, char** argv) {
  const Flags flags = ParseFlags(argc, argv);
  void* library = dlopen(UNETD_BUILD_DIR "/lib/unetd/cpu.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) Die(dlerror());
  const auto entry = reinterpret_cast<unetd_backend_entry_fn>(dlsym(library, UNETD_BACKEND_ENTRY));
  if (entry == nullptr) Die(dlerror());
  Plugin plugin = {entry(), nullptr, {}};
  const unetd_option options[] = {{"isa", flags.isa.c_str()}};
  plugin.Check(plugin.table->open(nullptr, options, 1, &plugin.state, &plugin.error), "open");
  unetd_backend_info info = {};
  info.struct_size = sizeof(info);
  plugin.Check(plugin.table->describe(plugin.state, &info, &plugin.error), "describe");
  {
    SpinGang gang(flags.threads);
    const bool avx512 = std::string(info.device).find("avx512") != std::string::npos;
    std::printf("%s, %u threads, %u rows; FMA peak %.1f GFLOP/s\n", info.device, flags.threads,
                flags.rows, MeasurePeak(&gang, avx512));
    for (Shape& shape : Shapes(flags.dtype)) {
      if (shape.name.find(flags.only) == std::string::npos) continue;
      if (shape.desc.kind == UNETD_OP_CONV2D) shape.desc.u.conv2d.algorithm = flags.conv;
      Time(&plugin, &gang, flags, shape, MeasurePeak(&gang, avx512));
    }
  }
  plugin.table->close(plugin.state);
  dlclose(library);
}
