#include "backends/cpu/winograd.h"

#include <algorithm>

#include "backends/cpu/pack.h"

namespace unetd::cpu {
namespace {

// Of UNETD_CONV_AUTO. Below, the transforms cost more than they save.
constexpr uint32_t kMinChannels = 64;
constexpr uint32_t kMinTiles4 = 64;  // 32 x 32 outputs
constexpr uint32_t kMinTiles2 = 16;  // 8 x 8 outputs
// Of UNETD_CONV_WINOGRAD: with fewer tiles of F(4, 3) its larger weights take longer to read.
constexpr uint32_t kMinTilesForced4 = 16;  // 16 x 16 outputs
constexpr uint32_t kChannelStep = 16;      // a vector of the widest instruction set
constexpr uint32_t kMaxBlockTiles = 128;
constexpr uint64_t kBlockBytes = 16 << 20;  // of a block's buffers: both stay in the last cache
constexpr uint32_t kTaskPanels = 12;        // of a product
constexpr uint32_t kPackChannels = 256;     // a task of packing

uint64_t CeilDiv(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

uint64_t TileCount(uint32_t height, uint32_t width, uint32_t size) {
  return CeilDiv(height, size) * CeilDiv(width, size);
}

bool KernelServes(const unetd_op_desc& desc) {
  const unetd_conv2d& conv = desc.u.conv2d;
  if (conv.kernel_h != 3 || conv.kernel_w != 3 || conv.stride != 1) return false;
  for (uint32_t s = 0; s < UNETD_MAX_SEGMENTS; ++s) {
    const unetd_view& view = desc.args[UNETD_ARG_SRC0 + s];
    if (Present(view) && view.channels % kChannelStep != 0) return false;
  }
  return true;
}

}  // namespace

uint32_t WinogradSize(const unetd_op_desc& desc) {
  const unetd_conv2d& conv = desc.u.conv2d;
  if (conv.algorithm == UNETD_CONV_DIRECT || !KernelServes(desc)) return 0;
  const bool itself = conv.reference_h == 0;
  const auto tiles = [&](uint32_t size) {
    return TileCount(itself ? conv.out_h : conv.reference_h, itself ? conv.out_w : conv.reference_w,
                     size);
  };
  if (conv.algorithm == UNETD_CONV_WINOGRAD) return tiles(4) >= kMinTilesForced4 ? 4 : 2;
  if (SourceChannels(desc) < kMinChannels || desc.args[UNETD_ARG_DST].channels < kMinChannels) {
    return 0;
  }
  if (tiles(4) >= kMinTiles4) return 4;
  if (desc.weight_dtype != UNETD_DTYPE_F32) return 0;
  return tiles(2) >= kMinTiles2 ? 2 : 0;
}

Answer WinogradRecipe(const unetd_op_desc& desc, const Isa& isa, unetd_recipe* recipe) {
  const uint64_t side = WinogradSize(desc) + 2;
  const uint32_t out = desc.args[UNETD_ARG_DST].channels;
  const uint64_t in = SourceChannels(desc);
  const uint64_t floats = side * side * PanelCount(isa, out, false) * PanelColumns(isa) * in;
  return SetRecipe("winograd" + std::to_string(side - 2) + "-" + DTypeName(desc.weight_dtype) +
                       "-nr" + std::to_string(PanelColumns(isa)) + "-" + std::to_string(out) + "x" +
                       std::to_string(in),
                   floats * sizeof(float), recipe);
}

Answer PackWinograd(const PackJob& job) {
  const uint32_t size = WinogradSize(job.desc);
  const uint32_t out = job.desc.args[UNETD_ARG_DST].channels;
  const uint32_t in = static_cast<uint32_t>(SourceChannels(job.desc));
  const WinogradKernels& kernels =
      *job.isa.Pick(&avx2::kWinogradKernels, &avx512::kWinogradKernels);
  const uint32_t blocks = static_cast<uint32_t>(CeilDiv(in, kPackChannels));
  Parallel(job.gang, PanelCount(job.isa, out, false) * blocks, [&](uint32_t task, uint32_t) {
    const uint32_t begin = task % blocks * kPackChannels;
    kernels.pack(size, job.source.data, job.source.dtype, job.desc.weight_dtype, out, in,
                 task / blocks, begin, std::min(in, begin + kPackChannels),
                 static_cast<float*>(job.packed));
  });
  return Ok();
}

WinogradKernel::WinogradKernel(const unetd_op_desc& desc, const Isa& isa,
                               std::vector<int32_t> y_map, std::vector<int32_t> x_map)
    : kernels_(*isa.Pick(&avx2::kWinogradKernels, &avx512::kWinogradKernels)),
      plan_(),
      y_map_(std::move(y_map)),
      x_map_(std::move(x_map)) {
  const unetd_conv2d& conv = desc.u.conv2d;
  plan_.size = WinogradSize(desc);
  plan_.components = (plan_.size + 2) * (plan_.size + 2);
  plan_.out_h = conv.out_h;
  plan_.tiles_x = static_cast<uint32_t>(CeilDiv(conv.out_w, plan_.size));
  plan_.tiles = static_cast<uint32_t>(TileCount(conv.out_h, conv.out_w, plan_.size));
  GemmPlan& gemm = plan_.gemm;
  gemm = PlanFromArgs(desc, conv.activation, conv.out_scale);
  AddPart(isa, 0, conv.has_bias != 0 ? 1 : -1, desc.args[UNETD_ARG_DST].channels, false, &gemm);
  gemm.y_map = y_map_.data();
  gemm.x_map = x_map_.data();
  gemm.in_w = conv.in_w;
  gemm.out_w = conv.out_w;
  gemm.k = gemm.channels;
  gemm.k_block = GemmKBlock(gemm.k);

  plan_.block_tiles = 1;
  const uint64_t tile_bytes =
      (kernels_.input_floats(plan_) + kernels_.sum_floats(plan_)) * sizeof(float);
  plan_.block_tiles =
      static_cast<uint32_t>(std::clamp<uint64_t>(kBlockBytes / tile_bytes, 16, kMaxBlockTiles));
  workspace_bytes = RoundUp(
      (RoundUp(kernels_.input_floats(plan_), 16) + kernels_.sum_floats(plan_)) * sizeof(float), 64);
  description = "winograd F(" + std::to_string(plan_.size) + ", 3) " + isa.name();
}

Answer WinogradKernel::Run(const unetd_exec& exec, const unetd_args& args) const {
  if (Answer a = CheckWeights(plan_.gemm, args); !a.ok()) return a;
  const uint64_t tiles = uint64_t{exec.rows} * plan_.tiles;
  const uint64_t blocks = CeilDiv(tiles, plan_.block_tiles);
  const uint32_t chunks = static_cast<uint32_t>(CeilDiv(plan_.gemm.panels, kTaskPanels));
  WinogradBlock block;
  block.inputs = reinterpret_cast<float*>(exec.workspace);
  block.sums = block.inputs + RoundUp(kernels_.input_floats(plan_), 16);
  for (uint64_t b = 0; b < blocks; ++b) {
    block.first = tiles * b / blocks;
    block.tiles = static_cast<uint32_t>(tiles * (b + 1) / blocks - block.first);
    if (IsCancelled(exec)) return Cancelled();
    Parallel(exec.gang, block.tiles, [&](uint32_t tile, uint32_t) {
      kernels_.transform_input(plan_, exec, args, block, tile);
    });
    if (IsCancelled(exec)) return Cancelled();
    Parallel(exec.gang, plan_.components * chunks, [&](uint32_t task, uint32_t) {
      const uint32_t chunk = task % chunks;
      kernels_.multiply(plan_, args, block, task / chunks, plan_.gemm.panels * chunk / chunks,
                        plan_.gemm.panels * (chunk + 1) / chunks);
    });
    if (IsCancelled(exec)) return Cancelled();
    Parallel(exec.gang, block.tiles, [&](uint32_t tile, uint32_t) {
      kernels_.transform_output(plan_, exec, args, block, tile);
    });
  }
  return Ok();
}

}  // namespace unetd::cpu
