#include "tests/npu/harness.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <ostream>

#include "server/backend/library.h"
#include "server/backend/reference.h"
#include "tests/providers/cases.h"
#include "tests/providers/compare.h"

namespace unetd::test {
namespace {

constexpr uint8_t kFence = 0xa5;
constexpr float kDrop = -10000.0f;

const unetd_view& ViewOf(const unetd_op_desc& desc, uint32_t arg) { return desc.args[arg]; }

uint64_t ElementBytes(int32_t dtype) { return dtype == UNETD_DTYPE_BOOL ? 1 : SizeOf(dtype); }

uint64_t SpanBytes(const unetd_view& view) {
  return ((view.tokens - 1) * view.stride + view.channels) * ElementBytes(view.dtype);
}

// Additive; a key of every three is dropped, the first one stays.
std::vector<float> MaskValues(uint64_t tokens, uint64_t keys, uint32_t row) {
  Random random(40 + row);
  std::vector<float> values(tokens * keys);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = random.Next() % 3 == 0 && i % keys != 0 ? kDrop : 0.0f;
  }
  return values;
}

std::vector<uint8_t> Elements(const AttentionCase& test, const unetd_view& view, uint32_t arg,
                              uint32_t row) {
  if (arg != UNETD_ARG_MASK) return Encode(view.dtype, ReferenceCase(test).Input(arg, row));
  std::vector<uint8_t> bytes;
  for (float value : MaskValues(view.tokens, view.channels, row)) bytes.push_back(value != 0);
  return bytes;
}

}  // namespace

std::string CannFolder(const std::string& variant) {
  return std::string(UNETD_CANN_DIR) + "/" + variant;
}

std::string NpuPlugin() { return UNETD_BUILD_DIR "/lib/unetd/npu.so"; }

void ClearCannEnvironment() {
  for (const char* name : {"ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_OPP_PATH"}) {
    unsetenv(name);
  }
}

StatusOr<std::shared_ptr<Backend>> OpenNpu(const std::string& variant,
                                           std::vector<std::pair<std::string, std::string>> options,
                                           HostLog log) {
  ClearCannEnvironment();
  options.emplace_back("library_path", CannFolder(variant));
  return LoadBackend(NpuPlugin(), options, log);
}

unetd_op_desc Descriptor(const AttentionCase& test) {
  OperatorCase made = NewCase(test.name, UNETD_OP_ATTENTION, test.dtype);
  made.desc.weight_dtype = UNETD_DTYPE_NONE;
  unetd_attention& attention = made.desc.u.attention;
  attention.algorithm = UNETD_ATTENTION_NPU;
  attention.heads = test.heads;
  attention.head_dim = test.head_dim;
  attention.bool_mask = test.mask == Mask::kNone ? 0 : 1;
  attention.scale = test.scale != 0 ? test.scale : static_cast<float>(1 / std::sqrt(test.head_dim));
  const uint32_t channels = test.heads * test.head_dim;
  SetView(made, UNETD_ARG_SRC0, test.queries, channels, test.dtype, test.gap);
  SetView(made, UNETD_ARG_KEY, test.keys, channels, test.dtype, 2 * test.gap);
  SetView(made, UNETD_ARG_VALUE, test.keys, channels, test.dtype, 2 * test.gap);
  SetView(made, UNETD_ARG_DST, test.queries, channels, test.dtype, test.gap);
  if (test.mask != Mask::kNone) {
    SetView(made, UNETD_ARG_MASK, test.mask == Mask::kShared ? 1 : test.queries, test.keys,
            UNETD_DTYPE_BOOL, test.gap);
  }
  return made.desc;
}

OperatorCase ReferenceCase(const AttentionCase& test) {
  OperatorCase made = NewCase(test.name, UNETD_OP_ATTENTION, kF16);
  made.desc = Descriptor(test);
  made.rows = test.rows;
  made.desc.u.attention.algorithm = UNETD_ATTENTION_SDPA;
  for (const uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY, UNETD_ARG_VALUE, UNETD_ARG_DST}) {
    unetd_view& view = made.desc.args[arg];
    view.stride = view.channels;
    view.dtype = UNETD_DTYPE_F32;
    made.fill[arg] = [view, arg, dtype = test.dtype](uint32_t row) {
      Random random(1000003 * (arg + 1) + row);
      std::vector<float> values(view.tokens * view.channels);
      for (float& value : values) value = Rounded(dtype, random.Normal());
      return values;
    };
  }
  unetd_view& mask = made.desc.args[UNETD_ARG_MASK];
  if (mask.tokens != 0) {
    mask.stride = mask.channels;
    mask.dtype = UNETD_DTYPE_F32;
    made.fill[UNETD_ARG_MASK] = [mask](uint32_t row) {
      return MaskValues(mask.tokens, mask.channels, row);
    };
  }
  // As tests/providers/attention_cases.cc derives it: scores carry the error of a float32 sum of
  // head_dim products, exp turns that into a relative error of each weight, the weights' sum has
  // it again. The result is rounded to the dtype on one side alone, subnormals included.
  const double scale = std::fabs(made.desc.u.attention.scale);
  const double deviation = std::sqrt(test.head_dim) * scale;
  const double score = kU32 * (8 + std::sqrt(test.head_dim)) * (1 + deviation * kLargest);
  made.absolute = 2 * kLargest * score + kU32 * (16 + 4 * std::sqrt(test.keys)) + 0x1p-25;
  made.relative = UnitRoundoff(test.dtype);
  return made;
}

RunResult RunReference(const AttentionCase& test) {
  const auto reference = Backend::Open(ReferenceBackend(), {}, "built in");
  EXPECT_TRUE(reference.ok());
  auto runner = OperatorRunner::Create(*reference, *reference, ReferenceCase(test));
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (!runner.ok()) return {};
  auto result = runner->Run();
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *std::move(result) : RunResult{};
}

StatusOr<NpuRun> NpuRun::Create(const std::shared_ptr<Backend>& backend,
                                const AttentionCase& test) {
  NpuRun run;
  run.backend_ = backend;
  run.test_ = test;
  run.desc_ = Descriptor(test);
  RETURN_IF_ERROR(backend->Supports(run.desc_));
  ASSIGN_OR_RETURN(run.prepared_, backend->Prepare(run.desc_));
  ASSIGN_OR_RETURN(run.workspace_,
                   DeviceBuffer::Create(backend, run.prepared_.workspace_bytes() + 64));
  uint64_t bytes = 64;
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const unetd_view& view = ViewOf(run.desc_, arg);
    if (view.tokens == 0) continue;
    run.offsets_[arg] = bytes;
    bytes = (bytes + SpanBytes(view) + 127) / 64 * 64;
  }
  for (uint32_t row = 0; row < test.rows; ++row) {
    ASSIGN_OR_RETURN(DeviceBuffer block, DeviceBuffer::Create(backend, bytes));
    std::vector<uint8_t> image(bytes, kFence);
    for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
      const unetd_view& view = ViewOf(run.desc_, arg);
      if (view.tokens == 0 || arg == UNETD_ARG_DST) continue;
      const std::vector<uint8_t> elements = Elements(test, view, arg, row);
      const uint64_t size = ElementBytes(view.dtype);
      for (uint64_t token = 0; token < view.tokens; ++token) {
        std::memcpy(&image[run.offsets_[arg] + token * view.stride * size],
                    &elements[token * view.channels * size], view.channels * size);
      }
    }
    RETURN_IF_ERROR(backend->Copy(block.data(), image.data(), bytes, UNETD_COPY_TO_DOMAIN));
    run.blocks_.push_back(std::move(block));
  }
  return run;
}

Status NpuRun::Enqueue(const uint32_t* cancel, void* stream) const {
  std::vector<uint8_t*> rows;
  for (const DeviceBuffer& block : blocks_) rows.push_back(block.data());
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = static_cast<uint32_t>(rows.size());
  exec.spaces[UNETD_SPACE_ARENA] = rows.data();
  // 64-byte aligned and no more, as the ABI promises.
  exec.workspace = workspace_.data() + 64;
  exec.cancel = cancel;
  exec.stream = stream;
  unetd_args args{};
  args.struct_size = sizeof(args);
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    if (ViewOf(desc_, arg).tokens != 0) args.args[arg] = {offsets_[arg], UNETD_SPACE_ARENA, 1};
  }
  return prepared_.Run(exec, args);
}

StatusOr<RunResult> NpuRun::Result() const {
  RunResult result;
  const unetd_view& dst = ViewOf(desc_, UNETD_ARG_DST);
  const uint64_t size = ElementBytes(dst.dtype);
  for (const DeviceBuffer& block : blocks_) {
    std::vector<uint8_t> image(block.bytes());
    RETURN_IF_ERROR(
        backend_->Copy(image.data(), block.data(), image.size(), UNETD_COPY_FROM_DOMAIN));
    std::vector<uint8_t> dense;
    for (uint64_t token = 0; token < dst.tokens; ++token) {
      const uint8_t* at = &image[offsets_[UNETD_ARG_DST] + token * dst.stride * size];
      dense.insert(dense.end(), at, at + dst.channels * size);
      if (token + 1 == dst.tokens) break;
      for (uint64_t gap = dst.channels * size; gap < dst.stride * size; ++gap) {
        if (at[gap] != kFence) return Internal("something between dst's tokens was written");
      }
    }
    result.bytes.push_back(dense);
    result.values.push_back(Decode(dst.dtype, dense));
  }
  return result;
}

StatusOr<RunResult> RunNpu(const std::shared_ptr<Backend>& backend, const AttentionCase& test) {
  ASSIGN_OR_RETURN(const NpuRun run, NpuRun::Create(backend, test));
  RETURN_IF_ERROR(run.Enqueue());
  return run.Result();
}

void ExpectReference(const std::shared_ptr<Backend>& backend, const AttentionCase& test) {
  const auto got = RunNpu(backend, test);
  ASSERT_TRUE(got.ok()) << test.name << ": " << got.status().message();
  const Difference difference = Compare(ReferenceCase(test), *got, RunReference(test));
  EXPECT_LE(difference.worst, 1) << test.name << ": " << difference.where;
}

void ExpectNoLeaks() {
  const cann_emulator::Leaks left = cann_emulator::CountLeaks();
  EXPECT_EQ(left.devices, 0);
  EXPECT_EQ(left.contexts, 0);
  EXPECT_EQ(left.streams, 0);
  EXPECT_EQ(left.buffers, 0);
  EXPECT_EQ(left.tensors, 0);
  EXPECT_EQ(left.executors, 0);
}

}  // namespace unetd::test
