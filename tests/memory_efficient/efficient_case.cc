#include "tests/memory_efficient/efficient_case.h"

#include <cmath>

#include "server/backend/library.h"
#include "server/backend/reference.h"
#include "tests/providers/cases.h"
#include "tests/providers/compare.h"

namespace unetd::test {

OperatorCase MakeCase(const Efficient& e) {
  OperatorCase test = NewCase("case", UNETD_OP_ATTENTION, e.dtype);
  test.desc.weight_dtype = UNETD_DTYPE_NONE;
  unetd_attention& attention = test.desc.u.attention;
  attention.algorithm = UNETD_ATTENTION_MEMORY_EFFICIENT;
  attention.heads = e.heads;
  attention.head_dim = e.head_dim;
  attention.scale = static_cast<float>(1 / std::sqrt(e.head_dim));
  e.op.copy(attention.op, sizeof(attention.op) - 1);
  const uint32_t channels = e.heads * e.head_dim;
  SetView(test, UNETD_ARG_SRC0, e.queries, channels, e.dtype, e.gap);
  SetView(test, UNETD_ARG_KEY, e.keys, channels, e.dtype, 2 * e.gap);
  SetView(test, UNETD_ARG_VALUE, e.keys, channels, e.dtype, e.gap);
  SetView(test, UNETD_ARG_DST, e.queries, channels, e.dtype, e.gap);
  if (e.mask != MaskKind::kNone) {
    const uint64_t rows = e.mask == MaskKind::kEach ? e.queries : 1;
    SetView(test, UNETD_ARG_MASK, rows, static_cast<uint32_t>(e.keys), UNETD_DTYPE_F32, e.gap);
    test.fill[UNETD_ARG_MASK] = [rows, keys = e.keys](uint32_t row) {
      Random random(50 + row);
      std::vector<float> values(rows * keys);
      for (size_t i = 0; i < values.size(); ++i) {
        const bool drop = random.Next() % 3 == 0 && i % keys != keys - 1;  // one key stays
        values[i] = drop ? -10000.0f : random.Normal();
      }
      return values;
    };
  }
  if (e.spread != 1) {
    for (uint32_t arg : {UNETD_ARG_SRC0, UNETD_ARG_KEY}) {
      const unetd_view view = test.desc.args[arg];
      test.fill[arg] = [view, arg, spread = e.spread](uint32_t row) {
        Random random(900 + 10 * arg + row);
        std::vector<float> values(view.tokens * view.channels);
        for (float& value : values) value = Rounded(view.dtype, random.Normal(0, spread));
        return values;
      };
    }
  }
  for (uint32_t arg = 0; e.shift != 0 && arg < UNETD_ARG_COUNT; ++arg) test.shift[arg] = e.shift;
  // As tests/providers reckons: a score carries the error of its sum, exp makes that relative, the
  // sum of weighted values has it again.
  const double score = kU32 * (8 + std::sqrt(e.head_dim)) * (1 + e.spread * e.spread * kLargest);
  Allow(test, 2 * kLargest * score + kU32 * (16 + 4 * std::sqrt(static_cast<double>(e.keys))));
  return test;
}

std::string Describe(const Efficient& e) {
  return std::to_string(e.heads) + " heads of " + std::to_string(e.head_dim) + ", Q " +
         std::to_string(e.queries) + ", K " + std::to_string(e.keys) + ", op '" + e.op +
         "', mask " + std::to_string(static_cast<int>(e.mask)) + ", " + DTypeLabel(e.dtype) +
         ", gap " + std::to_string(e.gap);
}

void SetValues(OperatorCase& test, uint32_t arg, std::vector<float> values) {
  test.fill[arg] = [values = std::move(values)](uint32_t) { return values; };
}

const std::shared_ptr<Backend>& ReferenceProvider() {
  static const std::shared_ptr<Backend> reference =
      *Backend::Open(ReferenceBackend(), {}, "built into the server");
  return reference;
}

RunResult Expected(const OperatorCase& test) {
  const auto runner = OperatorRunner::Create(ReferenceProvider(), ReferenceProvider(), test);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (!runner.ok()) return {};
  auto run = runner->Run();
  EXPECT_TRUE(run.ok()) << run.status().message();
  return run.ok() ? *std::move(run) : RunResult{};
}

std::vector<std::string> Isas() {
  std::vector<std::string> isas = {"avx2"};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    isas.push_back("avx512");
  }
  return isas;
}

std::shared_ptr<Backend> OpenPlugin(const std::string& isa) {
  const std::pair<std::string, std::string> options[] = {{"isa", isa}};
  const auto opened = LoadBackend(UNETD_BUILD_DIR "/lib/unetd/memory_efficient.so", options);
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  return opened.ok() ? *opened : nullptr;
}

void MemoryEfficient::SetUp() {
  backend_ = OpenPlugin(GetParam());
  ASSERT_NE(backend_, nullptr);
}

StatusOr<OperatorRunner> MemoryEfficient::Create(const OperatorCase& test) const {
  return OperatorRunner::Create(backend_, ReferenceProvider(), test);
}

RunResult MemoryEfficient::Run(const OperatorCase& test, const RunSetup& setup) const {
  const auto runner = Create(test);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (!runner.ok()) return {};
  auto run = runner->Run(setup);
  EXPECT_TRUE(run.ok()) << run.status().message();
  return run.ok() ? *std::move(run) : RunResult{};
}

std::string MemoryEfficient::Refusal(const OperatorCase& test) const {
  const Status status = backend_->Supports(test.desc);
  EXPECT_TRUE(status.ok() || status.code() == Code::kUnimplemented) << status.message();
  return std::string(status.message());
}

std::string MemoryEfficient::Description(const OperatorCase& test) const {
  const auto runner = Create(test);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  return runner.ok() ? runner->prepared().description() : "";
}

void MemoryEfficient::ExpectClose(const OperatorCase& test) const {
  const Difference difference = Compare(test, Run(test), Expected(test));
  EXPECT_LE(difference.worst, 1) << difference.where;
}

}  // namespace unetd::test
