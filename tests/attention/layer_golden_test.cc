// Every processor on every kind of layer and mask against what diffusers computed, and where
// diffusers failed: tests/golden/processors/layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "server/attention/binding.h"
#include "server/attention/row_checks.h"
#include "server/plan/request_blocks.h"
#include "server/plan/runner.h"
#include "server/tensor/convert.h"
#include "server/weights/weight_store.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kTolerance = 2e-4;  // of the output's standard deviation: the promise
constexpr double kHalfTolerance = 2e-2;
constexpr char kNpuKey[] = "AttnProcessorNPU.half";  // diffusers' layer in float16
constexpr uint64_t kMemory = uint64_t{1} << 28;

const fs::path kFolder = fs::path(UNETD_SOURCE_DIR) / "tests/golden/processors/layers";

AttentionLayer LayerOf(const json& config) {
  const auto number = [&](const char* key) { return config.value(key, 0u); };
  AttentionLayer layer;
  layer.name = config.at("name");
  layer.query_dim = config.at("query_dim");
  layer.heads = config.at("heads");
  layer.head_dim = layer.query_dim / layer.heads;
  layer.scale = 1.0f / std::sqrt(static_cast<float>(layer.head_dim));
  layer.upcast_attention = config.value("upcast_attention", false);
  layer.upcast_softmax = config.value("upcast_softmax", false);
  layer.qkv_bias = config.value("bias", false);
  layer.added_kv_dim = number("added_kv_proj_dim");
  layer.cross_dim = layer.has_added_kv() ? 0 : number("cross_attention_dim");
  layer.only_cross = config.value("only_cross_attention", false);
  layer.norm_groups = number("norm_num_groups");
  layer.norm_eps = config.value("eps", 1e-5f);
  const std::string norm = config.value("cross_attention_norm", "");
  if (norm == "layer_norm") layer.norm_cross = NormCross::kLayerNorm;
  if (norm == "group_norm") layer.norm_cross = NormCross::kGroupNorm;
  layer.residual_connection = config.value("residual_connection", false);
  layer.rescale_output_factor = config.value("rescale_output_factor", 1.0f);
  return layer;
}

ProcessorRule RuleOf(const std::string& layer, const std::string& key, const json& processor) {
  ProcessorRule rule;
  rule.layers = "*";
  rule.processor = processor.at(0);
  rule.json_path = "processors[0]";
  for (const auto& [name, value] : processor.at(1).items()) {
    rule.options.emplace_back(name, value.is_boolean()  ? OptionValue(value.get<bool>())
                                    : value.is_string() ? OptionValue(value.get<std::string>())
                                                        : OptionValue(value.get<int64_t>()));
  }
  const std::string trained = key.substr(key.rfind('.') + 1);
  const fs::path weights = kFolder / (layer + "." + trained + ".weights.safetensors");
  if (fs::exists(weights)) rule.weights = weights;
  return rule;
}

// The model's backend, and those that offer operators beside it.
struct Bench {
  BackendRegistry registry;
  std::shared_ptr<Backend> backend;
  DType dtype = DType::kFloat32;

  static StatusOr<Bench> Open(const std::string& name, DType dtype) {
    const fs::path plugins = fs::path(UNETD_BUILD_DIR) / "lib" / "unetd";
    Bench bench;
    bench.dtype = dtype;
    std::vector<BackendSettings> settings;
    for (const std::string& one : {name, std::string("memory_efficient")}) {
      if (one != "reference" && !fs::exists(plugins / (one + ".so"))) continue;
      settings.emplace_back();
      settings.back().name = one;
    }
    // CANN's libraries, emulated; without them what needs an NPU is not served.
    const fs::path cann = fs::path(UNETD_BUILD_DIR) / "tests" / "cann" / "full";
    if (fs::exists(cann / "libopapi.so") && fs::exists(plugins / "npu.so")) {
      settings.emplace_back();
      settings.back().name = "npu";
      settings.back().options = {{"library_path", cann.string()}};
    }
    ASSIGN_OR_RETURN(bench.registry, BackendRegistry::Open(settings, plugins));
    ASSIGN_OR_RETURN(bench.backend, bench.registry.Find(name));
    return bench;
  }
};

// One call of the file: its inputs by name, and how many rows.
class Call {
 public:
  Call(const WeightStore& io, std::string name) : io_(io), name_(std::move(name)) {}

  const TensorView* In(const std::string& input) const { return io_.Find(name_ + ".in." + input); }
  const TensorView* Out(const std::string& key) const { return io_.Find(name_ + ".out." + key); }
  uint32_t rows() const { return static_cast<uint32_t>(In("hidden_states")->shape[0]); }
  bool masked() const { return In("attention_mask") != nullptr; }

 private:
  const WeightStore& io_;
  const std::string name_;
};

Value Input(PlanBuilder& builder, const Call& call, const char* name, DType dtype,
            Section section) {
  const TensorView* tensor = call.In(name);
  if (tensor == nullptr) return {};
  const auto dim = [&](size_t i) { return static_cast<uint32_t>(tensor->shape[i]); };
  if (tensor->shape.size() == 4) return builder.ImageInput(name, dim(1), {dim(2), dim(3)});
  return builder.TokensInput(name, dim(1), dim(2), dtype, section);
}

// [rows][channels][tokens]
StatusOr<std::vector<std::vector<float>>> RunLayer(const Bench& bench, const WeightStore& io,
                                                   const AttentionLayer& layer,
                                                   const ProcessorRule& rule, const Call& call) {
  VariantSettings variant;
  variant.processors = {rule};
  ASSIGN_OR_RETURN(const VariantBindings bindings,
                   BindVariant(variant, {layer}, bench.registry, bench.backend, bench.dtype));
  const bool self = layer.name.ends_with("attn1");
  RETURN_IF_ERROR(
      CheckRowGroup(bindings, call.rows(), call.masked() && self, call.masked() && !self));

  PlanBuilder builder({bench.backend, &io, bench.dtype});
  AttentionContext context;
  const Value x = Input(builder, call, "hidden_states", bench.dtype, Section::kStep);
  context.text = Input(builder, call, "encoder_hidden_states", bench.dtype, Section::kCondition);
  context.mask = Input(builder, call, "attention_mask", DType::kFloat32, Section::kCondition);
  builder.Output(EmitAttention(builder, layer, *bindings.Find(layer.name), x, context));

  auto ledger = std::make_shared<Ledger>(kMemory);
  ASSIGN_OR_RETURN(const auto runner, Runner::Create(bench.backend, ledger, 1));
  PackedStore packed(bench.backend, ledger);
  CompileOptions options;
  options.packed = &packed;
  options.gang = runner->gang();
  auto plan = Compile(builder, options);
  if (!plan.ok()) return bindings.Explain(plan.status());

  ASSIGN_OR_RETURN(const auto blocks, RequestBlocks::Create(*plan, *ledger, call.rows()));
  for (const PlanInput& input : (*plan)->inputs) {
    ASSIGN_OR_RETURN(const Tensor cast, ConvertedTo(*call.In(input.name), input.dtype));
    for (uint32_t row = 0; row < call.rows(); ++row) {
      const auto* source = static_cast<const uint8_t*>(cast.data()) + row * input.bytes;
      std::copy_n(source, input.bytes, blocks->Input(input, row));
    }
  }
  std::vector<RowBlocks> rows;
  for (uint32_t row = 0; row < call.rows(); ++row) rows.push_back(blocks->Row(row));
  for (const Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
    RETURN_IF_ERROR(runner->Run(**plan, section, rows, nullptr));
  }
  const auto elements = static_cast<size_t>(x.tokens()) * layer.query_dim;
  std::vector<std::vector<float>> outputs;
  for (uint32_t row = 0; row < call.rows(); ++row) {
    outputs.emplace_back(blocks->Output(row), blocks->Output(row) + elements);
  }
  return outputs;
}

// The worst difference in standard deviations of what is expected: [B, C, H, W] or [B, L, C].
double Worst(const std::vector<std::vector<float>>& got, const TensorView& expected) {
  const float* want = expected.as<float>();
  const size_t count = expected.elements() / got.size();
  const bool image = expected.shape.size() == 4;
  const size_t channels = static_cast<size_t>(expected.shape[image ? 1 : 2]);
  const size_t tokens = count / channels;
  double sum = 0, squares = 0, worst = 0;
  for (size_t row = 0; row < got.size(); ++row) {
    for (size_t i = 0; i < count; ++i) {
      const size_t at = image ? i : (i % channels) * tokens + i / channels;
      const double value = want[row * count + i];
      const double difference = std::abs(value - got[row][at]);
      if (!(difference <= worst)) worst = difference;
      sum += value;
      squares += value * value;
    }
  }
  const double n = static_cast<double>(count * got.size());
  return worst / std::sqrt(squares / n - sum / n * (sum / n));
}

struct Param {
  std::string backend;
  DType dtype = DType::kFloat32;
  std::string layer;
};

class LayerGolden : public testing::TestWithParam<Param> {};

TEST_P(LayerGolden, EqualsDiffusersAndFailsWhereItFails) {
  const Param& param = GetParam();
  const auto bench = Bench::Open(param.backend, param.dtype);
  ASSERT_TRUE(bench.ok()) << bench.status().message();
  const auto io = WeightStore::OpenFolder(kFolder / (param.layer + ".safetensors"));
  ASSERT_TRUE(io.ok()) << io.status().message();
  const auto& metadata = (*io)->metadata();
  const AttentionLayer layer = LayerOf(json::parse(metadata.at("layer")));
  const json raised = json::parse(metadata.at("raised"));
  const json processors = json::parse(metadata.at("processors"));
  const json calls = json::parse(metadata.at("calls"));
  const double tolerance = param.dtype == DType::kFloat32   ? kTolerance
                           : param.dtype == DType::kFloat16 ? kHalfTolerance
                                                            : 8 * kHalfTolerance;
  int compared = 0, refused = 0, unserved = 0;
  for (const auto& [key, processor] : processors.items()) {
    const ProcessorRule rule = RuleOf(param.layer, key, processor);
    const bool npu =
        rule.processor == "AttnProcessorNPU" && (param.dtype != DType::kFloat32 || key == kNpuKey);
    if (npu && !bench->registry.Find("npu").ok()) {
      ++unserved;
      continue;
    }
    for (const auto& call_name : calls) {
      const Call call(**io, call_name);
      const std::string name = call_name.get<std::string>() + "." + key;
      // In half precision its masks are the right way round, whatever is said.
      const TensorView* expected = call.Out(npu ? kNpuKey : key);
      if (expected == nullptr && !raised.contains(name)) continue;  // not asked of diffusers
      const auto got = RunLayer(*bench, **io, layer, rule, call);
      if (!got.ok() && got.status().message().find("no memory_efficient") != std::string::npos) {
        ++unserved;
        continue;
      }
      if (expected == nullptr) {
        ++refused;
        EXPECT_FALSE(got.ok()) << name << ": accepted, but diffusers: " << raised[name];
        if (!got.ok()) {
          EXPECT_EQ(got.status().code(), Code::kInvalidArgument)
              << name << ": " << got.status().message();
        }
        continue;
      }
      ++compared;
      if (!got.ok()) {
        ADD_FAILURE() << name << ": " << got.status().message();
      } else {
        EXPECT_LE(Worst(*got, *expected), npu ? std::max(tolerance, kHalfTolerance) : tolerance)
            << name;
      }
    }
  }
  EXPECT_GT(compared, 10);
  EXPECT_GT(refused, 10);
  RecordProperty("compared", compared);
  RecordProperty("refused", refused);
  RecordProperty("not_served", unserved);
}

std::vector<Param> Params() {
  std::vector<Param> params;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(kFolder, error)) {
    const std::string stem = entry.path().stem().string();
    if (stem.ends_with(".weights")) continue;
    params.push_back({"reference", DType::kFloat32, stem});
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      params.push_back({"cpu", dtype, stem});
    }
  }
  return params;
}

INSTANTIATE_TEST_SUITE_P(, LayerGolden, testing::ValuesIn(Params()), [](const auto& info) {
  return info.param.backend + "_" + std::string(TorchName(info.param.dtype)) + "_" +
         info.param.layer;
});

TEST(LayerGoldens, AreThere) { EXPECT_GE(Params().size(), 40u); }

}  // namespace
}  // namespace unetd
