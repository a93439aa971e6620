#include "backends/cpu/pack.h"

#include <algorithm>
#include <cstring>

namespace unetd::cpu {
namespace {

// Source values a task of packing reads, about: enough to make the claim of a task cheap.
constexpr uint64_t kTaskValues = 256 * 1024;

std::string Layout(const Isa& isa, bool paired) {
  return "-nr" + std::to_string(PanelColumns(isa)) + (paired ? "-paired" : "");
}

}  // namespace

uint32_t PanelCount(const Isa& isa, uint32_t rows, bool paired) {
  const uint64_t columns = paired ? isa.lanes() : PanelColumns(isa);
  return static_cast<uint32_t>(RoundUp(paired ? rows / 2 : rows, columns) / columns);
}

Answer MatrixRecipe(const Isa& isa, const PackShape& shape, unetd_recipe* recipe) {
  uint64_t k = uint64_t{shape.channels} * shape.taps;
  if (shape.bf16_pairs) k = RoundUp(k, 2);
  const uint64_t bytes = k * PanelColumns(isa) * DTypeBytes(shape.packed_dtype) *
                         PanelCount(isa, shape.rows, shape.paired);
  return SetRecipe("gemm-" + DTypeName(shape.packed_dtype) + (shape.bf16_pairs ? "x2" : "") +
                       Layout(isa, shape.paired) + "-" + std::to_string(shape.rows) + "x" +
                       std::to_string(shape.channels) + "x" + std::to_string(shape.taps),
                   bytes, recipe);
}

Answer PackMatrix(const PackJob& job, PackShape shape) {
  shape.source = job.source.data;
  shape.source_dtype = job.source.dtype;
  const PackKernels& kernels = *job.isa.Pick(&avx2::kPackKernels, &avx512::kPackKernels);
  const uint32_t panels = PanelCount(job.isa, shape.rows, shape.paired);
  const uint64_t per_channel = uint64_t{PanelColumns(job.isa)} * shape.taps;
  // Whole squares of the transposition: a multiple of 16 channels.
  const uint32_t block =
      static_cast<uint32_t>(RoundUp(std::max<uint64_t>(1, kTaskValues / per_channel), 16));
  const uint32_t blocks = (shape.channels + block - 1) / block;
  Parallel(job.gang, panels * blocks, [&](uint32_t task, uint32_t) {
    const uint32_t begin = task % blocks * block;
    kernels.panel(shape, task / blocks, begin, std::min(shape.channels, begin + block), job.packed);
  });
  return Ok();
}

Answer BiasRecipe(const Isa& isa, uint32_t rows, bool paired, unetd_recipe* recipe) {
  return SetRecipe("gemm-bias" + Layout(isa, paired) + "-" + std::to_string(rows),
                   uint64_t{PanelCount(isa, rows, paired)} * PanelColumns(isa) * sizeof(float),
                   recipe);
}

Answer PackBias(const PackJob& job, uint32_t rows, bool paired) {
  const uint32_t lanes = job.isa.lanes();
  const uint32_t panels = PanelCount(job.isa, rows, paired);
  const uint32_t limit = paired ? rows / 2 : rows;
  const uint32_t step = paired ? lanes : 2 * lanes;  // rows a panel takes (of each half)
  const uint32_t bytes = DTypeBytes(job.source.dtype);
  const uint8_t* source = static_cast<const uint8_t*>(job.source.data);
  float* out = static_cast<float*>(job.packed);
  std::memset(out, 0, uint64_t{panels} * 2 * lanes * sizeof(float));
  for (uint32_t panel = 0; panel < panels; ++panel, out += 2 * lanes) {
    const uint32_t first = panel * step;
    const uint32_t count = std::min(step, limit - first);
    ConvertToFloat(source + uint64_t{first} * bytes, job.source.dtype, count, out);
    if (paired) {
      ConvertToFloat(source + (uint64_t{limit} + first) * bytes, job.source.dtype, count,
                     out + lanes);
    }
  }
  return Ok();
}

}  // namespace unetd::cpu
