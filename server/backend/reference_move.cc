// The reference provider's operators that move, cast and scale values.
#include <cmath>
#include <cstring>

#include "server/backend/reference_numbers.h"
#include "server/backend/reference_op.h"
#include "server/backend/reference_resize.h"
#include "server/base/text.h"

namespace unetd::reference {
namespace {

WeightShape NoWeight(const unetd_op_desc&, uint32_t) { return {}; }
uint64_t SourceScratch(const unetd_op_desc& desc) { return SourceFloats(desc) * sizeof(float); }
uint64_t NoScratch(const unetd_op_desc&) { return 0; }

std::string CheckResize(const unetd_op_desc& desc) {
  const unetd_resize& resize = desc.u.resize;
  for (uint32_t side : {resize.in_h, resize.in_w, resize.out_h, resize.out_w}) {
    if (side == 0 || side > (1u << 20)) return Format("an image side of {} is out of range", side);
  }
  if (std::string why = CheckResizeSides(resize); !why.empty()) return why;
  if (std::string why = CheckShape(desc, UNETD_ARG_SRC0, uint64_t{resize.in_h} * resize.in_w,
                                   desc.args[UNETD_ARG_SRC0].channels);
      !why.empty()) {
    return why;
  }
  return CheckShape(desc, UNETD_ARG_DST, uint64_t{resize.out_h} * resize.out_w,
                    SourceChannels(desc));
}

const char* RunResize(const Row& row) {
  const unetd_resize& resize = row.desc.u.resize;
  const uint64_t channels = SourceChannels(row.desc);
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, row.row, source);
  for (uint64_t y = 0; y < resize.out_h; ++y) {
    for (uint64_t x = 0; x < resize.out_w; ++x) {
      for (uint64_t c = 0; c < channels; ++c) {
        double value = 0;
        for (const Tap& down : TapsOf(resize.mode, y, resize.in_h, resize.out_h)) {
          for (const Tap& across : TapsOf(resize.mode, x, resize.in_w, resize.out_w)) {
            value += down.weight * across.weight *
                     source[(down.at * resize.in_w + across.at) * channels + c];
          }
        }
        StoreDst(row, y * resize.out_w + x, c, value);
      }
    }
  }
  return nullptr;
}

std::string CheckSameShape(const unetd_op_desc& desc) {
  return CheckShape(desc, UNETD_ARG_DST, desc.args[UNETD_ARG_SRC0].tokens, SourceChannels(desc));
}

std::string CheckGather(const unetd_op_desc& desc) {
  if (desc.u.gather_rows.batch_size == 0) return "batch_size is 0";
  return CheckSameShape(desc);
}

// Stores act(source * scale + shift) * row_scale + residual, in the source's order.
void StoreAll(const Row& row, const float* source, uint32_t activation, double scale,
              double shift) {
  const uint64_t channels = SourceChannels(row.desc);
  for (uint64_t t = 0; t < row.desc.args[UNETD_ARG_SRC0].tokens; ++t) {
    for (uint64_t c = 0; c < channels; ++c) {
      const bool by_token = row.desc.args[UNETD_ARG_ROW_SCALE].tokens > 1;
      const double value = Activate(activation, source[t * channels + c] * scale + shift) *
                           At(row, UNETD_ARG_ROW_SCALE, by_token ? t : 0, by_token ? 0 : c, 1.0);
      StoreDst(row, t, c, value + At(row, UNETD_ARG_RESIDUAL, t, c, 0.0));
    }
  }
}

const char* RunGather(const Row& row) {
  if (row.exec.group_first == nullptr || row.exec.group_size == nullptr)
    return "the rows' groups are not given";
  const uint32_t first = row.exec.group_first[row.row];
  const uint32_t size = row.exec.group_size[row.row];
  if (first > row.row || size > row.exec.rows - first || row.row - first >= size)
    return "a row's group does not hold it";
  const uint32_t step = std::max(1u, size / row.desc.u.gather_rows.batch_size);
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, first + (row.row - first) / step * step, source);
  StoreAll(row, source, UNETD_ACT_NONE, 1.0, 0.0);
  return nullptr;
}

std::string CheckElementwise(const unetd_op_desc& desc) {
  if (std::string why = CheckActivation(desc.u.elementwise.activation); !why.empty()) return why;
  return CheckSameShape(desc);
}

const char* RunElementwise(const Row& row) {
  const unetd_elementwise& op = row.desc.u.elementwise;
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, row.row, source);
  StoreAll(row, source, op.activation, op.scale, op.shift);
  return nullptr;
}

std::string CheckLayout(const unetd_op_desc& desc) {
  const uint32_t direction = desc.u.layout.direction;
  if (direction != UNETD_LAYOUT_TO_CHANNELS_LAST && direction != UNETD_LAYOUT_TO_PLANAR) {
    return Format("layout direction {} is unknown", direction);
  }
  const bool to_planar = direction == UNETD_LAYOUT_TO_PLANAR;
  for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    if (Has(desc, arg) && (desc.args[arg].stride == 0) == to_planar) {
      return "a source's stride does not agree with the direction: 0 is planar";
    }
  }
  if ((desc.args[UNETD_ARG_DST].stride == 0) != to_planar) {
    return "dst's stride does not agree with the direction: 0 is planar";
  }
  return CheckSameShape(desc);
}

const char* RunLayout(const Row& row) {
  auto* source = reinterpret_cast<float*>(row.scratch);
  ReadSource(row, row.row, source);
  StoreAll(row, source, UNETD_ACT_NONE, row.desc.u.layout.scale, row.desc.u.layout.shift);
  return nullptr;
}

uint64_t AnySize(int32_t dtype) {
  switch (dtype) {
    case UNETD_DTYPE_F64:
    case UNETD_DTYPE_I64:
    case UNETD_DTYPE_U64:
      return 8;
    case UNETD_DTYPE_F32:
    case UNETD_DTYPE_I32:
    case UNETD_DTYPE_U32:
      return 4;
    case UNETD_DTYPE_F16:
    case UNETD_DTYPE_BF16:
    case UNETD_DTYPE_I16:
    case UNETD_DTYPE_U16:
      return 2;
    case UNETD_DTYPE_BOOL:
    case UNETD_DTYPE_I8:
    case UNETD_DTYPE_U8:
      return 1;
    default:
      return 0;
  }
}

std::string CheckCopy(const unetd_op_desc& desc) {
  for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    if (Has(desc, arg) && desc.args[arg].dtype != desc.args[UNETD_ARG_DST].dtype) {
      return "a copy casts nothing: the dtypes differ";
    }
  }
  if (AnySize(desc.args[UNETD_ARG_DST].dtype) == 0) {
    return Format("dtype {} is unknown", desc.args[UNETD_ARG_DST].dtype);
  }
  return CheckSameShape(desc);
}

const char* RunCopy(const Row& row) {
  const unetd_view& dst = row.desc.args[UNETD_ARG_DST];
  const uint64_t size = AnySize(dst.dtype);
  uint8_t* to = Address(row, UNETD_ARG_DST, row.row);
  for (uint32_t arg = 0; arg < UNETD_MAX_SEGMENTS; ++arg) {
    if (!Has(row.desc, arg)) continue;
    const unetd_view& src = row.desc.args[arg];
    const uint8_t* from = Address(row, arg, row.row);
    for (uint64_t t = 0; t < src.tokens; ++t) {
      std::memcpy(to + t * dst.stride * size, from + t * src.stride * size, src.channels * size);
    }
    to += src.channels * size;
  }
  return nullptr;
}

std::string CheckSinusoid(const unetd_op_desc& desc) {
  const unetd_sinusoid& op = desc.u.sinusoid;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (op.dim == 0 || op.dim > (1u << 20)) return Format("dim {} is out of range", op.dim);
  if (op.flip_sin_to_cos > 1) return "flip_sin_to_cos must be 0 or 1";
  if (op.fourier > 1) return "fourier must be 0 or 1";
  if (op.fourier == 0 && op.dim > 1 && static_cast<float>(op.dim / 2) == op.freq_shift) {
    return Format("dim {} with freq_shift {} divides by zero", op.dim, op.freq_shift);
  }
  if (src.dtype != UNETD_DTYPE_F32 || src.channels != 1) return "src must be [n, 1] float32";
  return CheckShape(desc, UNETD_ARG_DST, 1, src.tokens * op.dim);
}

// Fourier's own frequencies.
WeightShape SinusoidWeight(const unetd_op_desc& desc, uint32_t weight) {
  if (weight != 0 || desc.u.sinusoid.fourier == 0 || desc.u.sinusoid.dim < 2) return {};
  return {1, {desc.u.sinusoid.dim / 2, 1, 1, 1}};
}

// In float32 throughout and in diffusers' order: at large timesteps the rounding of the angle
// shows.
float Angle(const Row& row, float x, uint32_t i) {
  const unetd_sinusoid& op = row.desc.u.sinusoid;
  if (op.fourier != 0) {
    return x * static_cast<const float*>(row.args.weights[0])[i] * 2.0f * static_cast<float>(M_PI);
  }
  const float divisor = static_cast<float>(op.dim / 2) - op.freq_shift;
  return x * std::exp(static_cast<float>(-std::log(10000.0)) * static_cast<float>(i) / divisor);
}

const char* RunSinusoid(const Row& row) {
  const unetd_sinusoid& op = row.desc.u.sinusoid;
  const uint32_t half = op.dim / 2;
  for (uint64_t n = 0; n < row.desc.args[UNETD_ARG_SRC0].tokens; ++n) {
    const auto x = static_cast<float>(At(row, UNETD_ARG_SRC0, n, 0, 0.0));
    for (uint32_t i = 0; i < half; ++i) {
      const float angle = Angle(row, x, i);
      const uint32_t sine = op.flip_sin_to_cos != 0 ? half + i : i;
      const uint32_t cosine = op.flip_sin_to_cos != 0 ? i : half + i;
      StoreDst(row, 0, n * op.dim + sine, std::sin(angle));
      StoreDst(row, 0, n * op.dim + cosine, std::cos(angle));
    }
    if (op.dim % 2 != 0) StoreDst(row, 0, n * op.dim + op.dim - 1, 0.0);
  }
  return nullptr;
}

std::string CheckLookup(const unetd_op_desc& desc) {
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  const uint32_t entries = desc.u.lookup.entries;
  if (entries == 0 || entries > (1u << 24)) return Format("{} entries are out of range", entries);
  if (src.dtype != UNETD_DTYPE_I32 || src.tokens != 1 || src.channels != 1)
    return "src must be [1, 1] int32";
  return CheckShape(desc, UNETD_ARG_DST, 1, desc.args[UNETD_ARG_DST].channels);
}

WeightShape LookupWeight(const unetd_op_desc& desc, uint32_t weight) {
  if (weight != 0) return {};
  return {2, {desc.u.lookup.entries, desc.args[UNETD_ARG_DST].channels, 1, 1}};
}

const char* RunLookup(const Row& row) {
  int32_t entry;
  std::memcpy(&entry, Address(row, UNETD_ARG_SRC0, row.row), sizeof(entry));
  if (entry < 0 || static_cast<uint32_t>(entry) >= row.desc.u.lookup.entries)
    return "the index is out of the table";
  const uint64_t channels = row.desc.args[UNETD_ARG_DST].channels;
  const auto* table = static_cast<const float*>(row.args.weights[0]);
  for (uint64_t c = 0; c < channels; ++c)
    StoreDst(row, 0, c, table[static_cast<uint64_t>(entry) * channels + c]);
  return nullptr;
}

constexpr uint32_t kMove = kSources | Bit(UNETD_ARG_DST);
constexpr uint32_t kOne = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);

}  // namespace

const Kind kResize = {UNETD_OP_RESIZE, "resize",      kMove,    CheckResize,
                      NoWeight,        SourceScratch, RunResize};
const Kind kGatherRows = {UNETD_OP_GATHER_ROWS, "gather_rows", kMove, CheckGather, NoWeight,
                          SourceScratch,        RunGather};
const Kind kElementwise = {
    UNETD_OP_ELEMENTWISE, "elementwise", kMove | Bit(UNETD_ARG_RESIDUAL) | Bit(UNETD_ARG_ROW_SCALE),
    CheckElementwise,     NoWeight,      SourceScratch,
    RunElementwise};
const Kind kLayout = {UNETD_OP_LAYOUT, "layout",      kMove,    CheckLayout,
                      NoWeight,        SourceScratch, RunLayout};
const Kind kCopy = {UNETD_OP_COPY, "copy", kMove, CheckCopy, NoWeight, NoScratch, RunCopy};
const Kind kSinusoid = {UNETD_OP_SINUSOID, "sinusoid", kOne,       CheckSinusoid,
                        SinusoidWeight,    NoScratch,  RunSinusoid};
const Kind kLookup = {UNETD_OP_LOOKUP, "lookup",  kOne,     CheckLookup,
                      LookupWeight,    NoScratch, RunLookup};

}  // namespace unetd::reference
