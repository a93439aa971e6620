#include "server/attention/binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/backend/reference.h"

namespace unetd {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

AttentionLayer Layer(const std::string& name, uint32_t heads = 4) {
  AttentionLayer layer;
  layer.name = name;
  layer.query_dim = 32;
  layer.cross_dim = name.ends_with("attn2") ? 24 : 0;
  layer.heads = heads;
  layer.head_dim = 32 / heads;
  return layer;
}

const std::vector<AttentionLayer> kLayers = {
    Layer("down_blocks.0.attentions.0.transformer_blocks.0.attn1"),
    Layer("down_blocks.0.attentions.0.transformer_blocks.0.attn2"),
    Layer("mid_block.attentions.0.transformer_blocks.0.attn1", 2),
    Layer("mid_block.attentions.0.transformer_blocks.0.attn2", 2)};

ProcessorRule Rule(const std::string& layers, const std::string& processor) {
  ProcessorRule rule;
  rule.layers = layers;
  rule.processor = processor;
  return rule;
}

ProcessorRule Sliced(const std::string& layers, OptionValue slice_size) {
  ProcessorRule rule = Rule(layers, "SlicedAttnProcessor");
  rule.options = {{"slice_size", std::move(slice_size)}};
  return rule;
}

class Binding : public testing::Test {
 protected:
  void SetUp() override {
    BackendSettings reference;
    reference.name = "reference";
    BackendSettings cpu;
    cpu.name = "cpu";
    auto registry = BackendRegistry::Open({reference, cpu},
                                          std::filesystem::path(UNETD_BUILD_DIR) / "lib" / "unetd");
    ASSERT_TRUE(registry.ok()) << registry.status().message();
    registry_ = *std::move(registry);
    model_backend_ = *registry_.Find("cpu");
  }

  StatusOr<VariantBindings> Bind(std::vector<ProcessorRule> rules) {
    VariantSettings variant;
    for (size_t i = 0; i < rules.size(); ++i) {
      rules[i].json_path = "models[0].variants[1].processors[" + std::to_string(i) + "]";
    }
    variant.processors = std::move(rules);
    return BindVariant(variant, kLayers, registry_, model_backend_);
  }

  std::string Refusal(std::vector<ProcessorRule> rules) {
    const auto bindings = Bind(std::move(rules));
    if (bindings.ok()) return "accepted";
    EXPECT_EQ(bindings.status().code(), Code::kInvalidArgument);
    return bindings.status().message();
  }

  BackendRegistry registry_;
  std::shared_ptr<Backend> model_backend_;
};

TEST_F(Binding, WithoutRulesEveryLayerGetsDiffusersDefault) {
  const auto bindings = Bind({});
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  ASSERT_EQ(bindings->layers().size(), kLayers.size());
  for (const AttentionLayer& layer : kLayers) {
    const LayerBinding* binding = bindings->Find(layer.name);
    ASSERT_NE(binding, nullptr);
    EXPECT_EQ(binding->processor->name, "AttnProcessor2_0");
    EXPECT_EQ(binding->rule, "default");
    EXPECT_FALSE(binding->fallback_to_sdpa);
    // The model's own backend is asked first, though another comes before it in the config.
    ASSERT_EQ(binding->backends.size(), 2u);
    EXPECT_EQ(binding->backends[0]->name(), "cpu");
    EXPECT_EQ(binding->backends[1]->name(), "reference");
  }
  EXPECT_EQ(bindings->Find("no.such.layer"), nullptr);
}

TEST_F(Binding, LaterRulesOverrideEarlierOnes) {
  const auto bindings =
      Bind({Sliced("*", int64_t{2}), Rule("*.attn2.processor", "AttnProcessor"),
            Rule("mid_block.attentions.0.transformer_blocks.0.attn2", "FusedAttnProcessor2_0")});
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  EXPECT_EQ(bindings->Find(kLayers[0].name)->processor->name, "SlicedAttnProcessor");
  EXPECT_EQ(bindings->Find(kLayers[0].name)->options.slice_size, 2u);
  EXPECT_EQ(bindings->Find(kLayers[0].name)->OptionsText(), "slice_size=2");
  EXPECT_EQ(bindings->Find(kLayers[1].name)->processor->name, "AttnProcessor");
  EXPECT_EQ(bindings->Find(kLayers[1].name)->rule, "models[0].variants[1].processors[1]");
  EXPECT_EQ(bindings->Find(kLayers[1].name)->OptionsText(), "");
  EXPECT_EQ(bindings->Find(kLayers[3].name)->processor->name, "FusedAttnProcessor2_0");
}

TEST_F(Binding, ARuleThatMatchesNoLayerIsAnError) {
  EXPECT_THAT(
      Refusal({Rule("*", "AttnProcessor"), Rule("up_blocks.*\n", "AttnProcessor")}),
      StartsWith("models[0].variants[1].processors[1].layers: 'up_blocks.*\\n' matches none "
                 "of the model's 4 attention layers"));
}

TEST_F(Binding, ProcessorsAreCheckedByName) {
  EXPECT_THAT(
      Refusal({Rule("*", "IPAdapterAttnProcessor")}),
      StartsWith("models[0].variants[1].processors[0].processor: processor "
                 "'IPAdapterAttnProcessor' is a diffusers processor that is not built yet"));
  // Even where a later rule takes all its layers.
  EXPECT_THAT(Refusal({Rule("*", "Nope"), Rule("*", "AttnProcessor")}),
              HasSubstr("unknown processor 'Nope'"));
}

TEST_F(Binding, WeightsAndFallbacksAreChecked) {
  const std::string path = "models[0].variants[1].processors[0]";
  ProcessorRule rule = Rule("*", "AttnProcessor");
  rule.weights = "/weights.safetensors";
  EXPECT_EQ(Refusal({rule}), path + ".weights: AttnProcessor has no trained weights of its own");
  rule = Rule("*", "AttnProcessor");
  rule.fallback = "math";
  EXPECT_EQ(Refusal({rule}), path + ".fallback: expected 'sdpa', got 'math'");
}

TEST_F(Binding, SlicesAreOfTheHeadsALayerHas) {
  EXPECT_EQ(
      Refusal({Sliced("*", int64_t{3})}),
      "models[0].variants[1].processors[0]: layer "
      "'mid_block.attentions.0.transformer_blocks.0.attn1' has 2 heads, so slice_size must be "
      "1 to 2, got 3");
  // What a later rule takes away need not fit.
  EXPECT_EQ(Refusal({Sliced("*", int64_t{3}), Rule("mid_block.*", "AttnProcessor")}), "accepted");
  EXPECT_EQ(Refusal({Sliced("down_blocks.*", int64_t{4})}), "accepted");
}

TEST_F(Binding, ANamedBackendIsAskedAlone) {
  ProcessorRule rule = Rule("*", "AttnProcessor");
  rule.backend = "reference";
  rule.fallback = "sdpa";
  const auto bindings = Bind({rule});
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  const LayerBinding* binding = bindings->Find(kLayers[0].name);
  ASSERT_EQ(binding->backends.size(), 1u);
  EXPECT_EQ(binding->backends[0]->name(), "reference");
  EXPECT_TRUE(binding->fallback_to_sdpa);
  rule.backend = "npu";
  EXPECT_EQ(Refusal({rule}),
            "models[0].variants[1].processors[0].backend: no backend is called 'npu'; there are: "
            "reference, cpu");
}

TEST_F(Binding, FingerprintIsOfTheContentAlone) {
  const std::string plain = Bind({})->fingerprint();
  EXPECT_EQ(plain.size(), 16u);
  EXPECT_EQ(Bind({})->fingerprint(), plain);
  // The same bindings by other rules.
  EXPECT_EQ(Bind({Sliced("*", int64_t{1}), Rule("*", "AttnProcessor2_0")})->fingerprint(), plain);
  const std::string one = Bind({Sliced("*.attn1", int64_t{1})})->fingerprint();
  const std::string two = Bind({Sliced("*.attn1", int64_t{2})})->fingerprint();
  EXPECT_NE(one, plain);
  EXPECT_NE(one, two);
  ProcessorRule rule = Rule("*", "AttnProcessor2_0");
  rule.fallback = "sdpa";
  EXPECT_NE(Bind({rule})->fingerprint(), plain);
  rule.fallback = "";
  rule.backend = "cpu";
  EXPECT_NE(Bind({rule})->fingerprint(), plain);
}

TEST_F(Binding, ExplainsByTheRuleOfTheLayer) {
  const auto bindings = Bind({Rule("*.attn1", "AttnProcessor")});
  const Status status = InvalidArgument("layer '" + kLayers[0].name + "': no backend serves it");
  EXPECT_EQ(bindings->Explain(status).message(),
            "models[0].variants[1].processors[0]: " + status.message());
  EXPECT_EQ(bindings->Explain(status).code(), status.code());
  const Status other = InvalidArgument("layer '" + kLayers[1].name + "': no backend serves it");
  EXPECT_EQ(bindings->Explain(other).message(), other.message());
  EXPECT_EQ(bindings->Explain(InvalidArgument("layer 'x")).message(), "layer 'x");
  EXPECT_TRUE(bindings->Explain(OkStatus()).ok());
}

TEST_F(Binding, TheNpuIsForHalfPrecision) {
  const auto bound = [&](const ProcessorRule& rule, DType dtype) {
    VariantSettings variant;
    variant.processors = {rule};
    return BindVariant(variant, kLayers, registry_, model_backend_, dtype);
  };
  const std::string& layer = kLayers[0].name;
  ProcessorRule rule = Rule("*", "AttnProcessorNPU");
  // In float32 it is sdpa, as in diffusers.
  const auto plain = bound(rule, DType::kFloat32);
  ASSERT_TRUE(plain.ok()) << plain.status().message();
  EXPECT_EQ(plain->Find(layer)->algorithm, uint32_t{UNETD_ATTENTION_SDPA});
  EXPECT_EQ(plain->Find(layer)->OptionsText(), "mask=correct");
  EXPECT_EQ(bound(rule, DType::kFloat16)->Find(layer)->algorithm, uint32_t{UNETD_ATTENTION_NPU});
  EXPECT_EQ(bound(rule, DType::kBFloat16)->Find(layer)->algorithm, uint32_t{UNETD_ATTENTION_NPU});
  rule.options = {{"compute", std::string("bfloat16")}, {"mask", std::string("diffusers")}};
  const auto compute = bound(rule, DType::kFloat32);
  ASSERT_TRUE(compute.ok()) << compute.status().message();
  EXPECT_EQ(compute->Find(layer)->algorithm, uint32_t{UNETD_ATTENTION_NPU});
  EXPECT_EQ(compute->Find(layer)->options.compute, DType::kBFloat16);
  EXPECT_EQ(compute->Find(layer)->OptionsText(), "compute=bfloat16, mask=diffusers");
  EXPECT_NE(compute->fingerprint(), plain->fingerprint());
}

AttentionLayer AddedKvLayer(const std::string& name, uint32_t text) {
  AttentionLayer layer = Layer(name);
  layer.added_kv_dim = text;
  layer.norm_groups = 8;
  layer.qkv_bias = true;
  return layer;
}

TEST_F(Binding, LayersWithAddedKeysGetTheirOwnDefault) {
  VariantSettings variant;
  const AttentionLayer layer = AddedKvLayer("mid_block.attentions.0", 24);
  const auto bindings = BindVariant(variant, {layer}, registry_, model_backend_);
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  EXPECT_EQ(bindings->Find(layer.name)->processor->name, "AttnAddedKVProcessor2_0");
}

TEST(LegalProcessors, AreThoseThatDiffusersCouldRun) {
  using testing::ElementsAre;
  EXPECT_THAT(LegalProcessors(kLayers[0]),
              ElementsAre("AttnProcessor", "AttnProcessor2_0", "FusedAttnProcessor2_0",
                          "SlicedAttnProcessor", "CrossFrameAttnProcessor",
                          "CrossFrameAttnProcessor2_0", "CustomDiffusionAttnProcessor",
                          "CustomDiffusionAttnProcessor2_0", "CustomDiffusionXFormersAttnProcessor",
                          "XFormersAttnProcessor", "AttnProcessorNPU"));
  EXPECT_THAT(LegalProcessors(AddedKvLayer("a", 24)),
              ElementsAre("AttnAddedKVProcessor", "AttnAddedKVProcessor2_0",
                          "SlicedAttnAddedKVProcessor", "XFormersAttnAddedKVProcessor"));
  AttentionLayer image = kLayers[0];
  image.norm_groups = 8;
  image.residual_connection = true;
  EXPECT_THAT(LegalProcessors(image),
              ElementsAre("AttnProcessor", "AttnProcessor2_0", "FusedAttnProcessor2_0",
                          "SlicedAttnProcessor", "XFormersAttnProcessor", "AttnProcessorNPU"));
}

TEST(LegalProcessors, RefuseWithTheReason) {
  const auto why = [](const char* processor, const AttentionLayer& layer) {
    ProcessorOptions options;
    options.slice_size = 1;
    return CanServe(**FindProcessor(processor), options, layer).message();
  };
  EXPECT_EQ(why("AttnAddedKVProcessor", kLayers[0]),
            "layer 'down_blocks.0.attentions.0.transformer_blocks.0.attn1': AttnAddedKVProcessor "
            "needs add_k_proj and add_v_proj, which this layer has not; for it there is "
            "AttnProcessor2_0");
  const AttentionLayer added = AddedKvLayer("a", 24);
  EXPECT_THAT(why("AttnProcessor2_0", added),
              StartsWith("layer 'a': AttnProcessor2_0 hands to_k and to_v the text of 24 channels, "
                         "and they take 32; for a layer with added keys and values there are "
                         "AttnAddedKVProcessor, AttnAddedKVProcessor2_0"));
  EXPECT_EQ(why("AttnProcessor2_0", AddedKvLayer("a", 32)), "");
  EXPECT_THAT(why("FusedAttnProcessor2_0", AddedKvLayer("a", 32)), HasSubstr("does not fuse"));
  EXPECT_THAT(why("CrossFrameAttnProcessor", AddedKvLayer("a", 32)), HasSubstr("is an image"));
  AttentionLayer only_cross = AddedKvLayer("a", 32);
  only_cross.only_cross = true;
  EXPECT_THAT(why("AttnProcessor", only_cross), HasSubstr("only_cross_attention"));
  AttentionLayer no_norm = added;
  no_norm.norm_groups = 0;
  EXPECT_THAT(why("AttnAddedKVProcessor2_0", no_norm), HasSubstr("needs group_norm"));
}

}  // namespace
}  // namespace unetd
