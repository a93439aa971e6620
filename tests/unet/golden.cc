#include "tests/unet/golden.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "server/backend/library.h"
#include "server/backend/reference.h"
#include "server/backend/registry.h"
#include "server/plan/conv_policy.h"
#include "server/plan/request_blocks.h"
#include "server/tensor/convert.h"
#include "server/unet/stage_row.h"
#include "server/unet/unet.h"
#include "server/weights/weight_store.h"

namespace unetd::test {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMemory = uint64_t{1} << 31;
constexpr std::string_view kIn = "in.";

std::vector<NamedShape> SentBy(const WeightStore& io) {
  std::vector<NamedShape> sent;
  for (const std::string& name : io.Names()) {
    if (!name.starts_with(kIn)) continue;
    const TensorView& tensor = *io.Find(name);
    sent.push_back({name.substr(kIn.size()), tensor.dtype, tensor.shape});
  }
  return sent;
}

// `rows`: the file's row for each of the batch.
Status Stage(const WeightStore& io, const std::string& name, const std::vector<uint32_t>& rows,
             RequestBlocks& blocks) {
  const TensorView& tensor = *io.Find(std::string(kIn) + name);
  if (name == wire::kTimestep) {
    ASSIGN_OR_RETURN(const Tensor times, ConvertedTo(tensor, DType::kFloat32));
    for (uint32_t row = 0; row < rows.size(); ++row) {
      blocks.SetTimestep(row, 0, times.as<float>()[times.elements() == 1 ? 0 : rows[row]]);
    }
    return OkStatus();
  }
  const PlanInput* input = blocks.plan().FindInput(name);
  if (input == nullptr) {
    // What no layer reads: a text beside an image_proj, a mask that the other overrides.
    const bool unread = name == wire::kText || name == wire::kTextMask;
    return unread ? OkStatus() : Internal("the plan has no input " + name);
  }
  TensorView row = tensor;
  row.shape.erase(row.shape.begin());
  row.bytes /= static_cast<uint64_t>(tensor.shape[0]);
  const uint64_t elements = input->bytes / DTypeSize(input->dtype);
  const uint64_t factor = name == wire::kBoxes ? kBoxFeatures / kBoxNumbers : 1;
  if (row.elements() * factor != elements) return Internal(name + ": other size");
  const auto* data = static_cast<const uint8_t*>(tensor.data);
  for (uint32_t i = 0; i < rows.size(); ++i) {
    row.data = data + rows[i] * row.bytes;
    RETURN_IF_ERROR(StageRow(name, row, input->dtype, blocks.Input(*input, i)));
  }
  return OkStatus();
}

StatusOr<GoldenRun> Compare(const TensorView& expected, const std::vector<uint32_t>& rows,
                            const RequestBlocks& blocks) {
  const uint64_t elements = expected.elements() / static_cast<uint64_t>(expected.shape[0]);
  const Shape row_shape(expected.shape.begin() + 1, expected.shape.end());
  if (row_shape != blocks.plan().output_shape) {
    return Internal("output " + ShapeText(blocks.plan().output_shape) + ", expected " +
                    ShapeText(row_shape));
  }
  GoldenRun run;
  double sum = 0, squares = 0;
  for (uint32_t row = 0; row < rows.size(); ++row) {
    const float* got = blocks.Output(row);
    const float* expected_row = expected.as<float>() + rows[row] * elements;
    run.outputs.emplace_back(got, got + elements);
    for (uint64_t i = 0; i < elements; ++i) {
      const double want = expected_row[i], difference = std::abs(want - got[i]);
      // Not std::max, which would pass over a NaN.
      if (!(difference <= run.worst)) run.worst = difference;
      sum += want;
      squares += want * want;
    }
  }
  const double count = static_cast<double>(elements * rows.size());
  run.std = std::sqrt(squares / count - sum / count * (sum / count));
  return run;
}

}  // namespace

fs::path GoldenFolder() { return fs::path(UNETD_SOURCE_DIR) / "tests" / "golden"; }

std::vector<fs::path> GoldenFiles(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" && name.starts_with(prefix)) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::shared_ptr<Backend> GoldenBackend(const std::string& name, std::string& why) {
  const fs::path plugin = fs::path(UNETD_BUILD_DIR) / "lib" / "unetd" / (name + ".so");
  auto backend = name == ReferenceBackend()->name
                     ? Backend::Open(ReferenceBackend(), {}, "built in")
                     : LoadBackend(plugin.string(), {});
  if (backend.ok()) return *backend;
  why = backend.status().message();
  return nullptr;
}

StatusOr<GoldenRun> RunGolden(const fs::path& model, const fs::path& io_file,
                              const GoldenSetup& setup) {
  ASSIGN_OR_RETURN(const auto unet, ModelUNet::Load(model));
  ASSIGN_OR_RETURN(const auto weights, WeightStore::OpenFolder(model));
  ASSIGN_OR_RETURN(const auto io, WeightStore::OpenFolder(io_file));
  ASSIGN_OR_RETURN(const UNetShape shape, unet->Resolve("golden", SentBy(*io)));
  VariantSettings variant;
  variant.processors = setup.rules;
  ASSIGN_OR_RETURN(
      const VariantBindings bindings,
      BindVariant(variant, unet->layers(), setup.registry, setup.backend, setup.dtype));

  auto ledger = std::make_shared<Ledger>(kMemory);
  ASSIGN_OR_RETURN(const auto runner, Runner::Create(setup.backend, ledger, setup.threads));
  PackedStore packed(setup.backend, ledger);
  // As a served model finds it.
  const Size declared = setup.declared == Size{0, 0} ? shape.size : setup.declared;
  PlanBuilder sizes({setup.backend, weights.get(), setup.dtype});
  unet->Emit(sizes, unet->LikelyShape(declared), bindings);
  const auto conv = std::make_shared<const ConvPolicy>(ConvPolicy::Of(setup.conv, declared, sizes));
  PlanBuilder builder({setup.backend, weights.get(), setup.dtype, conv});
  unet->Emit(builder, shape, bindings);
  CompileOptions options;
  options.packed = &packed;
  options.gang = runner->gang();
  ASSIGN_OR_RETURN(const auto plan, Compile(builder, options));

  const TensorView& expected = *io->Find("out.out_sample");
  std::vector<uint32_t> rows = setup.rows;
  if (rows.empty()) {
    rows.resize(static_cast<size_t>(expected.shape[0]));
    std::iota(rows.begin(), rows.end(), 0);
  }
  const uint32_t count = static_cast<uint32_t>(rows.size());
  ASSIGN_OR_RETURN(const auto blocks, RequestBlocks::Create(plan, *ledger, count));
  for (const NamedShape& input : SentBy(*io)) {
    RETURN_IF_ERROR(Stage(*io, input.name, rows, *blocks));
  }
  RETURN_IF_ERROR(runner->Admit(*plan, count));
  std::vector<RowBlocks> row_blocks;
  for (uint32_t row = 0; row < count; ++row) row_blocks.push_back(blocks->Row(row));
  for (const Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
    RETURN_IF_ERROR(runner->Run(*plan, section, row_blocks, nullptr));
  }
  ASSIGN_OR_RETURN(GoldenRun run, Compare(expected, rows, *blocks));
  run.convolutions = plan->convolutions;
  return run;
}

}  // namespace unetd::test
