// Statistics are taken in two passes over fixed blocks of tokens and merged in double, in the
// blocks' order; a second parallel call applies them.
#include <algorithm>
#include <cmath>

#include "backends/cpu/norm.h"
#include "backends/cpu/ops.h"
#include "backends/cpu/segments.h"
#include "backends/cpu/tasks.h"

namespace unetd::cpu {
namespace {

Answer Supports(const unetd_op_desc& desc, const Isa&) {
  const unetd_group_norm& op = desc.u.group_norm;
  if (Present(desc.args[UNETD_ARG_STATS_IN])) {
    return Unsupported(
        "group_norm: stats_in is not served: the cpu backend takes the statistics itself");
  }
  const uint32_t required = Bit(UNETD_ARG_SRC0) | Bit(UNETD_ARG_DST);
  const uint32_t rows = Bit(UNETD_ARG_ROW_SCALE) | Bit(UNETD_ARG_ROW_SHIFT);
  if (Answer a = CheckArgs(desc, kSegmentBits | required | rows, required); !a.ok()) return a;
  if (Answer a = CheckDTypes(desc, false); !a.ok()) return a;
  Segments segments;
  if (Answer a = CheckSegments(desc, &segments); !a.ok()) return a;
  const uint64_t tokens = desc.args[UNETD_ARG_SRC0].tokens;
  if (Answer a = CheckLike("group_norm", desc, UNETD_ARG_DST, tokens, segments.channels); !a.ok()) {
    return a;
  }
  for (const uint32_t arg : {UNETD_ARG_ROW_SCALE, UNETD_ARG_ROW_SHIFT}) {
    if (!Present(desc.args[arg])) continue;
    if (Answer a = CheckLike("group_norm", desc, arg, 1, segments.channels); !a.ok()) return a;
  }
  if (op.groups == 0 || segments.channels % op.groups != 0) {
    return Unsupported("group_norm: groups must divide the " + std::to_string(segments.channels) +
                       " channels, got " + std::to_string(op.groups));
  }
  if (op.affine > 1) {
    return Unsupported("group_norm: affine must be 0 or 1, got " + std::to_string(op.affine));
  }
  if (!std::isfinite(op.eps) || op.eps < 0) {
    return Unsupported("group_norm: eps must be finite and not negative");
  }
  return CheckActivation("group_norm", op.activation);
}

Answer Recipe(const unetd_op_desc& desc, const Isa&, uint32_t weight, unetd_recipe* recipe) {
  if (desc.u.group_norm.affine == 0 || weight > 1) {
    return Invalid("group_norm: there is no weight " + std::to_string(weight));
  }
  return VectorRecipe(desc.args[UNETD_ARG_DST].channels, recipe);
}
Answer Pack(const PackJob& job) {
  return PackVector(job, job.weight == 0 ? "group_norm gamma" : "group_norm beta",
                    job.desc.args[UNETD_ARG_DST].channels);
}

// One block where that is less work than handing it out; else an even number of blocks of about 32
// Ki elements (they stay in L2 between two passes), as equal as can be.
Blocks BlocksOf(uint64_t tokens, uint64_t channels) {
  if (tokens * channels <= 16 * 1024) return {tokens, tokens};
  const uint64_t wanted = std::min(tokens * channels / (32 * 1024) + 1, uint64_t{1} << 16);
  const uint64_t blocks = std::min(tokens, (wanted + 1) / 2 * 2);
  return {tokens, (tokens + blocks - 1) / blocks};
}

class GroupNorm : public Kernel {
 public:
  GroupNorm(const unetd_op_desc& desc, const Isa& isa)
      : desc_(desc),
        kernels_(isa.Pick(&avx2::kNormKernels, &avx512::kNormKernels)),
        channels_(desc.args[UNETD_ARG_DST].channels),
        blocks_(BlocksOf(desc.args[UNETD_ARG_DST].tokens, channels_)),
        moments_bytes_(
            RoundUp(sizeof(GroupMoments) * desc.u.group_norm.groups * blocks_.blocks(), 64)),
        row_bytes_(moments_bytes_ + 5 * RoundUp(channels_ * sizeof(float), 64)),
        // Some rows share the two parallel calls; how many does not touch a row's bits.
        rows_at_once_(static_cast<uint32_t>(std::clamp<uint64_t>((1 << 20) / row_bytes_, 1, 8))) {
    workspace_bytes = row_bytes_ * rows_at_once_;
    thread_workspace_bytes = NormRoom(channels_) * sizeof(float);
    description = std::string("group_norm ") + isa.name() + ": " +
                  std::to_string(blocks_.blocks()) + " blocks of " + std::to_string(blocks_.block) +
                  " tokens";
  }

  Answer Run(const unetd_exec& exec, const unetd_args& args) const override {
    if (Answer a = CheckAffine(desc_.u.group_norm.affine, args); !a.ok()) return a;
    for (uint32_t first = 0; first < exec.rows; first += rows_at_once_) {
      if (IsCancelled(exec)) return Cancelled();
      const uint32_t rows = std::min(rows_at_once_, exec.rows - first);
      if (blocks_.blocks() == 1) {
        Parallel(exec.gang, rows, [&](uint32_t row, uint32_t thread) {
          Moments(exec, args, first + row, row, 0, thread);
          Merge(exec, args, first + row, row);
          Apply(exec, args, first + row, row, 0, Room(exec, thread));
        });
        continue;
      }
      Parallel(exec.gang, rows * blocks_.blocks(), [&](uint32_t task, uint32_t thread) {
        const uint32_t row = task / blocks_.blocks(), block = task % blocks_.blocks();
        Moments(exec, args, first + row, row, block, thread);
      });
      for (uint32_t row = 0; row < rows; ++row) Merge(exec, args, first + row, row);
      Parallel(exec.gang, rows * blocks_.blocks(), [&](uint32_t task, uint32_t thread) {
        const uint32_t row = task / blocks_.blocks(), block = task % blocks_.blocks();
        Apply(exec, args, first + row, row, block, Room(exec, thread));
      });
    }
    return Ok();
  }

 private:
  static float* Room(const unetd_exec& exec, uint32_t thread) {
    return reinterpret_cast<float*>(ThreadWorkspace(exec, thread));
  }
  // Of the row's place in the workspace.
  GroupMoments* MomentsOf(const unetd_exec& exec, uint32_t place) const {
    return reinterpret_cast<GroupMoments*>(exec.workspace + place * row_bytes_);
  }
  // 0 mean, 1 scale and 2 shift of each channel; 3 and 4 are room.
  float* ChannelsOf(const unetd_exec& exec, uint32_t place, uint32_t which) const {
    return reinterpret_cast<float*>(exec.workspace + place * row_bytes_ + moments_bytes_ +
                                    which * RoundUp(channels_ * sizeof(float), 64));
  }

  void Moments(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t place,
               uint32_t block, uint32_t thread) const {
    kernels_->moments(BlockOf(desc_, exec, args, row, blocks_.begin(block), blocks_.end(block)),
                      desc_.u.group_norm.groups, Room(exec, thread),
                      MomentsOf(exec, place) + uint64_t{block} * desc_.u.group_norm.groups);
  }

  // The row's statistics from its blocks', then what they make of each channel.
  void Merge(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t place) const {
    const unetd_group_norm& op = desc_.u.group_norm;
    const uint64_t size = channels_ / op.groups;
    const double tokens = static_cast<double>(blocks_.count);
    const GroupMoments* moments = MomentsOf(exec, place);
    float* means = ChannelsOf(exec, place, 0);
    float* scales = ChannelsOf(exec, place, 1);
    float* shifts = ChannelsOf(exec, place, 2);
    const float* gamma = static_cast<const float*>(args.weights[0]);
    const float* beta = static_cast<const float*>(args.weights[1]);
    const float* row_scale =
        RowVector(exec, args, row, UNETD_ARG_ROW_SCALE, ChannelsOf(exec, place, 3));
    const float* row_shift =
        RowVector(exec, args, row, UNETD_ARG_ROW_SHIFT, ChannelsOf(exec, place, 4));
    for (uint32_t g = 0; g < op.groups; ++g) {
      double mean = 0, squares = 0;
      for (uint32_t b = 0; b < blocks_.blocks(); ++b) {
        const double share = static_cast<double>(blocks_.end(b) - blocks_.begin(b)) / tokens;
        mean += moments[uint64_t{b} * op.groups + g].mean * share;
      }
      for (uint32_t b = 0; b < blocks_.blocks(); ++b) {
        const GroupMoments& m = moments[uint64_t{b} * op.groups + g];
        const double off = m.mean - mean;
        const double count =
            static_cast<double>(blocks_.end(b) - blocks_.begin(b)) * static_cast<double>(size);
        squares += m.squares + off * off * count;
      }
      const double variance = squares / (tokens * static_cast<double>(size));
      const double factor = 1.0 / std::sqrt(variance + static_cast<double>(op.eps));
      const float stored = static_cast<float>(mean);
      const double rest = (static_cast<double>(stored) - mean) * factor;
      for (uint64_t c = g * size; c < (g + 1) * size; ++c) {
        const double a = op.affine != 0 ? static_cast<double>(gamma[c]) : 1.0;
        const double b = op.affine != 0 ? static_cast<double>(beta[c]) : 0.0;
        const double s = row_scale != nullptr ? 1.0 + static_cast<double>(row_scale[c]) : 1.0;
        const double t = row_shift != nullptr ? static_cast<double>(row_shift[c]) : 0.0;
        means[c] = stored;
        scales[c] = static_cast<float>(factor * a * s);
        shifts[c] = static_cast<float>((rest * a + b) * s + t);
      }
    }
  }

  const float* RowVector(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t arg,
                         float* room) const {
    const unetd_view& view = desc_.args[arg];
    if (!Present(view)) return nullptr;
    const void* data = RowAddress(exec, args.args[arg], row);
    if (view.dtype == UNETD_DTYPE_F32) return static_cast<const float*>(data);
    ConvertToFloat(data, view.dtype, channels_, room);
    return room;
  }

  void Apply(const unetd_exec& exec, const unetd_args& args, uint32_t row, uint32_t place,
             uint32_t block, float* room) const {
    const unetd_view& dst = desc_.args[UNETD_ARG_DST];
    const uint64_t first = blocks_.begin(block);
    kernels_->apply(BlockOf(desc_, exec, args, row, first, blocks_.end(block)),
                    ChannelsOf(exec, place, 0), ChannelsOf(exec, place, 1),
                    ChannelsOf(exec, place, 2), desc_.u.group_norm.activation, room,
                    RowAddress(exec, args.args[UNETD_ARG_DST], row) +
                        first * dst.stride * DTypeBytes(dst.dtype),
                    dst.dtype, dst.stride);
  }

  const unetd_op_desc desc_;
  const NormKernels* const kernels_;
  const uint64_t channels_;
  const Blocks blocks_;
  const uint64_t moments_bytes_;
  const uint64_t row_bytes_;  // of the workspace, for each of rows_at_once_
  const uint32_t rows_at_once_;
};

Answer Make(const unetd_op_desc& desc, const Isa& isa, std::unique_ptr<Kernel>* kernel) {
  *kernel = std::make_unique<GroupNorm>(desc, isa);
  return Ok();
}

}  // namespace

const OpEntry kGroupNormOp = {UNETD_OP_GROUP_NORM, "group_norm", Supports, Recipe, Pack, Make};

}  // namespace unetd::cpu
