#include <vector>

#include "backends/cpu/index_map.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/row_kernels.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

// What one output position of a side is made of.
struct Taps {
  uint32_t count = 0;
  uint32_t at[4] = {};
  float weight[4] = {};

  void Add(int64_t position, uint32_t side, float factor) {
    const int64_t reflected = position < 0       ? -position
                              : position >= side ? 2 * int64_t{side} - 2 - position
                                                 : position;
    at[count] = static_cast<uint32_t>(reflected);
    weight[count++] = factor;
  }
};

Taps TapsOf(uint32_t mode, uint32_t index, uint32_t side) {
  Taps taps;
  const int64_t i = index;
  if (mode == UNETD_RESIZE_AVERAGE_2X2) {
    for (int k = 0; k < 2; ++k) taps.Add(2 * i + k, side, 0.5f);
  } else if (mode == UNETD_RESIZE_BLUR_DOWN) {
    for (int k = 0; k < 4; ++k) taps.Add(2 * i - 1 + k, side, k == 0 || k == 3 ? 0.125f : 0.375f);
  } else {
    taps.Add(i / 2, side, 0.75f);
    taps.Add(i / 2 + (i % 2 == 0 ? -1 : 1), side, 0.25f);
  }
  return taps;
}

const char* ModeName(uint32_t mode) {
  static constexpr const char* kNames[] = {"?",         "nearest", "average 2x2",
                                           "blur down", "blur up", "mean"};
  return kNames[mode];
}

std::string Size(uint32_t h, uint32_t w) { return std::to_string(h) + " x " + std::to_string(w); }

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_resize& op = desc.u.resize;
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  if (Answer a = CheckArgs(desc, required, required); !a.ok()) return a;
  if (Answer a = CheckMovement(desc); !a.ok()) return a;
  if (Answer a = CheckStorage(desc, UNETD_ARG_SRC0); !a.ok()) return a;
  const unetd_view& src = desc.args[UNETD_ARG_SRC0];
  if (uint64_t{op.in_h} * op.in_w != src.tokens) {
    return Unsupported("resize: in_h x in_w is " + Size(op.in_h, op.in_w) + ", src0 has " +
                       std::to_string(src.tokens) + " tokens");
  }
  if (Answer a =
          CheckLike("resize", desc, UNETD_ARG_DST, uint64_t{op.out_h} * op.out_w, src.channels);
      !a.ok()) {
    return a;
  }
  if (op.mode < UNETD_RESIZE_NEAREST || op.mode > UNETD_RESIZE_MEAN) {
    return Unsupported(
        "resize: mode must be nearest, average 2x2, blur down, blur up or mean, got "
        "number " +
        std::to_string(op.mode));
  }
  const bool up = op.mode == UNETD_RESIZE_BLUR_UP, down = op.mode == UNETD_RESIZE_BLUR_DOWN;
  if ((up || down) && (op.in_h < 2 || op.in_w < 2)) {
    return Unsupported("resize: a blur of " + Size(op.in_h, op.in_w) + " has no edges to reflect");
  }
  uint32_t h = op.out_h, w = op.out_w;
  if (down || op.mode == UNETD_RESIZE_AVERAGE_2X2) h = op.in_h / 2, w = op.in_w / 2;
  if (up) h = op.in_h * 2, w = op.in_w * 2;
  if (op.mode == UNETD_RESIZE_MEAN) h = w = 1;
  if (h == op.out_h && w == op.out_w) return Ok();
  return Unsupported(std::string("resize: ") + ModeName(op.mode) + " of " + Size(op.in_h, op.in_w) +
                     " is " + Size(h, w) + ", not out_h x out_w " + Size(op.out_h, op.out_w));
}

// A task is an output row of pixels.
class Resize : public Kernel {
 public:
  Resize(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc), kernels_(isa.Pick(&avx2::kRowKernels, &avx512::kRowKernels)) {
    const unetd_resize& op = desc.u.resize;
    const bool nearest = op.mode == UNETD_RESIZE_NEAREST;
    for (uint32_t x = 0; nearest && x < op.out_w; ++x) {
      columns_.push_back(NearestSource(x, op.in_w, op.out_w));
    }
    for (uint64_t token = 0; op.mode == UNETD_RESIZE_MEAN && token < tokens(); ++token) {
      offsets_.push_back(token * desc.args[UNETD_ARG_SRC0].stride * source_bytes());
    }
    weights_.assign(offsets_.size(), 1.0f / static_cast<float>(tokens()));
    description = std::string("resize ") + ModeName(op.mode) + " " + isa.name();
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    const unetd_resize& op = desc_.u.resize;
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    ParallelRows(exec, op.out_h, [&](uint32_t row, uint32_t y, uint32_t) {
      const uint8_t* from = RowAddress(exec, args.args[UNETD_ARG_SRC0], row);
      uint8_t* to = RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                    uint64_t{y} * op.out_w * dst.stride * DTypeBytes(dst.dtype);
      for (uint32_t x = 0; x < op.out_w; ++x, to += dst.stride * DTypeBytes(dst.dtype)) {
        if (op.mode == UNETD_RESIZE_NEAREST) {
          kernels_->convert(from + Offset(NearestSource(y, op.in_h, op.out_h), columns_[x]),
                            src.dtype, src.channels, to, dst.dtype);
        } else if (op.mode == UNETD_RESIZE_MEAN) {
          kernels_->weighted_sum(from, offsets_.data(), weights_.data(),
                                 static_cast<uint32_t>(offsets_.size()), src.dtype, src.channels,
                                 to, dst.dtype);
        } else {
          Filter(from, TapsOf(op.mode, y, op.in_h), TapsOf(op.mode, x, op.in_w), to);
        }
      }
    });
    return Ok();
  }

 private:
  uint64_t tokens() const { return desc_.args[UNETD_ARG_SRC0].tokens; }
  uint64_t source_bytes() const { return DTypeBytes(desc_.args[UNETD_ARG_SRC0].dtype); }
  uint64_t Offset(uint64_t y, uint64_t x) const {
    return (y * desc_.u.resize.in_w + x) * desc_.args[UNETD_ARG_SRC0].stride * source_bytes();
  }

  void Filter(const uint8_t* from, const Taps& down, const Taps& across, uint8_t* to) const {
    uint64_t offsets[16];
    float weights[16];
    uint32_t taps = 0;
    for (uint32_t i = 0; i < down.count; ++i) {
      for (uint32_t j = 0; j < across.count; ++j, ++taps) {
        offsets[taps] = Offset(down.at[i], across.at[j]);
        weights[taps] = down.weight[i] * across.weight[j];
      }
    }
    const unetd_view& src = desc_.args[UNETD_ARG_SRC0];
    kernels_->weighted_sum(from, offsets, weights, taps, src.dtype, src.channels, to,
                           desc_.args[UNETD_ARG_DST].dtype);
  }

  const unetd_op_desc desc_;
  const RowKernels* const kernels_;
  std::vector<uint32_t> columns_;  // nearest: the source column of each output column
  std::vector<uint64_t> offsets_;  // mean: of every token, in bytes
  std::vector<float> weights_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<Resize>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kResizeOp = {UNETD_OP_RESIZE, "resize", Supports, nullptr, nullptr, Make};

}  // namespace unetd::cpu
