// Recipes and packing of the matrix kernel's weights.
#pragma once

#include "backends/cpu/op_table.h"
#include "backends/cpu/pack_kernels.h"

namespace unetd::cpu {

// Columns a panel: two vectors.
inline uint32_t PanelColumns(const Isa& isa) { return 2 * isa.lanes(); }

// Panels that a matrix of `rows` output features takes; a paired one has rows / 2 values, a vector
// of them a panel.
uint32_t PanelCount(const Isa& isa, uint32_t rows, bool paired);

// A matrix of rows x (channels * taps): name
// "gemm-<dtype>[x2]-nr<columns>[-paired]-<rows>x<channels>x<taps>".
Answer MatrixRecipe(const Isa& isa, const PackShape& shape, unetd_recipe* recipe);
// `shape` without its source, which is job.source.
Answer PackMatrix(const PackJob& job, PackShape shape);

// A bias, float32 in the order of the panels' columns: name
// "gemm-bias-nr<columns>[-paired]-<rows>".
Answer BiasRecipe(const Isa& isa, uint32_t rows, bool paired, unetd_recipe* recipe);
Answer PackBias(const PackJob& job, uint32_t rows, bool paired);

}  // namespace unetd::cpu
