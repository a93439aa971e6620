// The steps of a Winograd convolution. Compiled once for each instruction set.
#include "backends/cpu/winograd_kernels.h"

#include "backends/cpu/gemm_epilogue.h"
#include "backends/cpu/gemm_tile.h"
#include "backends/cpu/winograd_pack.h"
#include "backends/cpu/winograd_transforms.h"

namespace unetd::cpu::UNETD_ISA {
namespace {

// From one component to the next: a cache line more than needed, so that a tile's components do not
// meet in one set.
uint64_t InputStride(const WinogradPlan& plan) {
  const uint64_t k_blocks = (plan.gemm.k + plan.gemm.k_block - 1) / plan.gemm.k_block;
  return k_blocks * plan.block_tiles * kRowStride + 16;
}
uint64_t SumStride(const WinogradPlan& plan) {
  return uint64_t{plan.gemm.panels} * plan.block_tiles * kPanel + 16;
}
uint64_t InputFloats(const WinogradPlan& plan) { return plan.components * InputStride(plan); }
uint64_t SumFloats(const WinogradPlan& plan) { return plan.components * SumStride(plan); }

// Where tile `tile` of a block lies.
struct TilePlace {
  uint32_t row;   // of the batch
  uint32_t y, x;  // its first output
};
UNETD_SIMD TilePlace Place(const WinogradPlan& plan, const WinogradBlock& block, uint32_t tile) {
  const uint64_t all = block.first + tile;
  const uint32_t own = static_cast<uint32_t>(all % plan.tiles);
  return {static_cast<uint32_t>(all / plan.tiles), own / plan.tiles_x * plan.size,
          own % plan.tiles_x * plan.size};
}

template <int kSide>
struct Tokens {
  const uint8_t* at[kSide][kSide];  // null: padding
};

// Channels that the input transform fetches ahead.
constexpr int kAhead = 4 * kLanes;

template <int kSize, typename T>
void InputChannels(const Tokens<kSize + 2>& tokens, bool inside, uint32_t channels, float* out,
                   uint64_t stride) {
  constexpr int kSide = kSize + 2;
  for (uint32_t c = 0; c < channels; c += kLanes, out += kLanes) {
    Vec half[kSide][kSide];  // [column][line]
    UNETD_UNROLL for (int x = 0; x < kSide; ++x) {
      Vec line[kSide];
      UNETD_UNROLL for (int y = 0; y < kSide; ++y) {
        const uint8_t* token = tokens.at[y][x];
        if (inside) PrefetchL1(token + (c + kAhead) * sizeof(T));
        line[y] = inside || token != nullptr ? Load(reinterpret_cast<const T*>(token) + c) : Zero();
      }
      Winograd<kSize>::Input(line, half[x]);
    }
    UNETD_UNROLL for (int y = 0; y < kSide; ++y) {
      Vec line[kSide], values[kSide];
      UNETD_UNROLL for (int x = 0; x < kSide; ++x) line[x] = half[x][y];
      Winograd<kSize>::Input(line, values);
      UNETD_UNROLL for (int x = 0; x < kSide; ++x) {
        Store(out + static_cast<uint64_t>(y * kSide + x) * stride, values[x]);
      }
    }
  }
}

template <int kSize>
void TransformInput(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
                    const WinogradBlock& block, uint32_t tile) {
  constexpr int kSide = kSize + 2;
  const GemmPlan& gemm = plan.gemm;
  const TilePlace place = Place(plan, block, tile);
  const uint64_t stride = InputStride(plan);
  uint32_t k = 0;
  for (uint32_t s = 0; s < gemm.segments; ++s) {
    const GemmSegment& segment = gemm.segment[s];
    const unetd_operand& operand = args.args[segment.arg];
    const uint8_t* base = exec.spaces[operand.space][place.row] + operand.offset;
    const uint32_t value_bytes = segment.dtype == UNETD_DTYPE_F32 ? 4 : 2;
    const uint32_t end = k + segment.channels;
    for (uint32_t first = k; k < end;) {  // up to the next k block
      const uint32_t k_block = k / gemm.k_block;
      const uint32_t stop = (k_block + 1) * gemm.k_block;
      const uint32_t count = (stop < end ? stop : end) - k;
      Tokens<kSide> tokens;
      bool inside = true;
      for (int y = 0; y < kSide; ++y) {
        const int64_t source_y = gemm.y_map[place.y + static_cast<uint32_t>(y)];
        for (int x = 0; x < kSide; ++x) {
          const int64_t source_x = gemm.x_map[place.x + static_cast<uint32_t>(x)];
          const bool padding = source_y < 0 || source_x < 0;
          const uint64_t token = static_cast<uint64_t>(source_y * gemm.in_w + source_x);
          tokens.at[y][x] =
              padding ? nullptr
                      : base + token * segment.token_bytes + uint64_t{k - first} * value_bytes;
          inside = inside && !padding;
        }
      }
      float* out = block.inputs + (uint64_t{k_block} * plan.block_tiles + tile) * kRowStride +
                   (k - k_block * gemm.k_block);
      switch (segment.dtype) {
        case UNETD_DTYPE_F16:
          InputChannels<kSize, F16>(tokens, inside, count, out, stride);
          break;
        case UNETD_DTYPE_BF16:
          InputChannels<kSize, BF16>(tokens, inside, count, out, stride);
          break;
        default:
          InputChannels<kSize, float>(tokens, inside, count, out, stride);
      }
      k += count;
    }
  }
}

void Multiply(const WinogradPlan& plan, const unetd_args& args, const WinogradBlock& block,
              uint32_t component, uint32_t panel_begin, uint32_t panel_end) {
  const GemmPlan& gemm = plan.gemm;
  const uint64_t panel_floats = uint64_t{gemm.k} * kPanel;
  const float* weights =
      static_cast<const float*>(args.weights[0]) + component * gemm.panels * panel_floats;
  const float* inputs = block.inputs + component * InputStride(plan);
  float* sums = block.sums + component * SumStride(plan);
  const uint32_t tiles = (block.tiles + kTileRows - 1) / kTileRows;
  for (uint32_t k = 0; k < gemm.k; k += gemm.k_block) {
    const uint32_t k_end = gemm.k - k < gemm.k_block ? gemm.k : k + gemm.k_block;
    const float* a = inputs + uint64_t{k / gemm.k_block} * plan.block_tiles * kRowStride;
    const uint64_t bytes = uint64_t{k_end - k} * kPanel * sizeof(float);
    for (uint32_t p = panel_begin; p < panel_end; ++p) {
      const float* panel = weights + p * panel_floats + uint64_t{k} * kPanel;
      const float* next = p + 1 < panel_end ? panel + panel_floats
                                            : weights + panel_begin * panel_floats +
                                                  uint64_t{k_end % gemm.k} * kPanel;
      const uint32_t left = gemm.part[0].columns - p * kPanel;
      const TileFn* tile_by_rows =
          left <= kLanes ? Tiles<1, float>::kByRows : Tiles<2, float>::kByRows;
      for (uint32_t t = 0; t < tiles; ++t) {
        const uint32_t begin = block.tiles * t / tiles;
        const uint32_t count = block.tiles * (t + 1) / tiles - begin;
        float* sum = sums + (uint64_t{p} * plan.block_tiles + begin) * kPanel;
        tile_by_rows[count - 1](a + uint64_t{begin} * kRowStride, panel, k_end - k, sum, k != 0,
                                PrefetchShare(next, bytes, k_end - k, t, tiles));
      }
    }
  }
}

template <int kSize>
void TransformOutput(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
                     const WinogradBlock& block, uint32_t tile) {
  constexpr int kSide = kSize + 2;
  const GemmPlan& gemm = plan.gemm;
  const TilePlace place = Place(plan, block, tile);
  const uint64_t stride = SumStride(plan);
  const auto address = [&](uint32_t arg) {
    return exec.spaces[args.args[arg].space][place.row] + args.args[arg].offset;
  };
  uint8_t* dst = address(UNETD_ARG_DST);
  const uint8_t* residual = gemm.has_residual ? address(UNETD_ARG_RESIDUAL) : nullptr;
  const uint8_t* row_bias = gemm.has_row_bias ? address(UNETD_ARG_ROW_BIAS) : nullptr;
  const float* bias =
      gemm.part[0].bias < 0 ? nullptr : static_cast<const float*>(args.weights[gemm.part[0].bias]);
  const uint32_t out = gemm.part[0].columns;
  for (uint32_t channel = 0; channel < out; channel += kLanes) {
    const int n = out - channel < kLanes ? static_cast<int>(out - channel) : kLanes;
    const uint32_t panel = channel / kPanel;
    const float* sums =
        block.sums + (uint64_t{panel} * plan.block_tiles + tile) * kPanel + channel % kPanel;
    Vec half[kSide][kSize];  // [column][line]
    UNETD_UNROLL for (int x = 0; x < kSide; ++x) {
      Vec line[kSide];
      UNETD_UNROLL for (int y = 0; y < kSide; ++y) {
        const float* sum = sums + static_cast<uint64_t>(y * kSide + x) * stride;
        PrefetchL1(sum + uint64_t{plan.block_tiles} * kPanel);  // the next panel's
        line[y] = Load(sum);
      }
      Winograd<kSize>::Output(line, half[x]);
    }
    const Vec add = bias != nullptr ? Load(bias + channel) : Zero();
    const Vec add_row =
        row_bias != nullptr ? LoadAny(row_bias, gemm.row_bias_dtype, channel, n) : Zero();
    UNETD_UNROLL for (int y = 0; y < kSize; ++y) {
      const uint32_t out_y = place.y + static_cast<uint32_t>(y);
      if (out_y >= plan.out_h) break;
      Vec line[kSide], values[kSize];
      UNETD_UNROLL for (int x = 0; x < kSide; ++x) line[x] = half[x][y];
      Winograd<kSize>::Output(line, values);
      for (int x = 0; x < kSize; ++x) {
        const uint32_t out_x = place.x + static_cast<uint32_t>(x);
        if (out_x >= gemm.out_w) break;
        const uint64_t token = uint64_t{out_y} * gemm.out_w + out_x;
        const TokenOut to = {dst + token * gemm.dst_token_bytes,
                             residual + token * gemm.residual_token_bytes, nullptr};
        Vec value = values[x] + add;
        if (row_bias != nullptr) value = value + add_row;
        Finish(gemm, to, channel, Activate(gemm.activation, value), n);
      }
    }
  }
}

void RunInput(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
              const WinogradBlock& block, uint32_t tile) {
  plan.size == 4 ? TransformInput<4>(plan, exec, args, block, tile)
                 : TransformInput<2>(plan, exec, args, block, tile);
}

void RunOutput(const WinogradPlan& plan, const unetd_exec& exec, const unetd_args& args,
               const WinogradBlock& block, uint32_t tile) {
  plan.size == 4 ? TransformOutput<4>(plan, exec, args, block, tile)
                 : TransformOutput<2>(plan, exec, args, block, tile);
}

}  // namespace

const WinogradKernels kWinogradKernels = {InputFloats, SumFloats, RunInput,
                                          Multiply,    RunOutput, PackWinograd};

}  // namespace unetd::cpu::UNETD_ISA
