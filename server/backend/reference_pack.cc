// The reference provider's packed weights.
#include <cstdio>
#include <cstring>

#include "server/backend/reference_numbers.h"
#include "server/backend/reference_op.h"
#include "server/base/text.h"

namespace unetd::reference {
namespace {

// One element's place: convolutions [out, in, h, w] -> [h, w, in, out], linears [out, in] -> [in,
// out].
uint64_t PackedIndex(const Kind& kind, const WeightShape& shape, uint64_t index) {
  if (kind.kind == UNETD_OP_LOOKUP || shape.rank == 1) return index;
  const uint64_t pixels = shape.dims[2] * shape.dims[3];
  const uint64_t pixel = index % pixels;
  const uint64_t in = index / pixels % shape.dims[1];
  const uint64_t out = index / pixels / shape.dims[1];
  return (pixel * shape.dims[1] + in) * shape.dims[0] + out;
}

}  // namespace

int32_t PackRecipe(const unetd_op_desc& desc, const Kind& kind, uint32_t weight,
                   unetd_recipe* recipe, unetd_error* error) {
  const WeightShape shape = kind.weight(desc, weight);
  if (shape.rank == 0) {
    return Answer(error, UNETD_INVALID, Format("{} has no weight {} here", kind.name, weight));
  }
  std::memset(recipe, 0, sizeof(*recipe));
  const bool turned = shape.rank > 1 && kind.kind != UNETD_OP_LOOKUP;
  const std::string name =
      Format("reference.{}.{}.{}x{}x{}x{}", turned ? "in_out" : "as_is", desc.weight_dtype,
             shape.dims[0], shape.dims[1], shape.dims[2], shape.dims[3]);
  std::snprintf(recipe->name, sizeof(recipe->name), "%s", name.c_str());
  recipe->bytes = shape.elements() * sizeof(float);
  return UNETD_OK;
}

int32_t Pack(const unetd_op_desc& desc, const Kind& kind, uint32_t weight,
             const unetd_weight& source, void* packed, unetd_error* error) {
  const WeightShape shape = kind.weight(desc, weight);
  if (shape.rank == 0) {
    return Answer(error, UNETD_INVALID, Format("{} has no weight {} here", kind.name, weight));
  }
  bool fits = source.data != nullptr && FloatSize(source.dtype) != 0 && source.rank == shape.rank;
  for (uint32_t i = 0; fits && i < shape.rank; ++i) fits = source.dims[i] == shape.dims[i];
  if (!fits) {
    return Answer(error, UNETD_INVALID,
                  Format("weight {} of {}: expected rank {}, {} x {} x {} x {} of float32, float16 "
                         "or bfloat16; got "
                         "rank {}, {} x {} x {} x {} of dtype {}",
                         weight, kind.name, shape.rank, shape.dims[0], shape.dims[1], shape.dims[2],
                         shape.dims[3], source.rank, source.dims[0], source.dims[1], source.dims[2],
                         source.dims[3], source.dtype));
  }
  auto* out = static_cast<float*>(packed);
  for (uint64_t i = 0; i < shape.elements(); ++i) {
    out[PackedIndex(kind, shape, i)] =
        RoundTo(desc.weight_dtype, LoadFloat(source.dtype, source.data, i));
  }
  return UNETD_OK;
}

}  // namespace unetd::reference
