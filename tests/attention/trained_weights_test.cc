// Custom Diffusion: the file of trained tensors against rule and layer.
#include "server/attention/trained_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <numeric>
#include <vector>

#include "server/attention/binding.h"
#include "server/backend/reference.h"
#include "server/weights/writer.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint32_t kWidth = 8, kText = 6;

AttentionLayer Layer(const std::string& name) {
  AttentionLayer layer;
  layer.name = name;
  layer.query_dim = kWidth;
  layer.cross_dim = name.ends_with("attn2") ? kText : 0;
  layer.heads = 2;
  layer.head_dim = kWidth / 2;
  return layer;
}

const std::vector<AttentionLayer> kLayers = {Layer("a.attn1"), Layer("a.attn2"), Layer("b.attn1"),
                                             Layer("b.attn2")};
const std::string kK = "a.attn2.processor.to_k_custom_diffusion.weight";
const std::string kV = "a.attn2.processor.to_v_custom_diffusion.weight";
const std::string kQ = "a.attn2.processor.to_q_custom_diffusion.weight";
const std::string kOut = "a.attn2.processor.to_out_custom_diffusion.0.weight";
const std::string kOutBias = "a.attn2.processor.to_out_custom_diffusion.0.bias";
using Shapes = std::map<std::string, Shape>;
const Shapes kKv = {{kK, {kWidth, kText}}, {kV, {kWidth, kText}}};
const Shapes kQOut = {{kQ, {kWidth, kWidth}}, {kOut, {kWidth, kWidth}}, {kOutBias, {kWidth}}};

Shapes Both() {
  Shapes both = kKv;
  both.insert(kQOut.begin(), kQOut.end());
  return both;
}

class TrainedWeights : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("unetd_trained_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(folder_);
    auto backend = Backend::Open(ReferenceBackend(), {}, "built in");
    ASSERT_TRUE(backend.ok());
    backend_ = *backend;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path Write(const Shapes& shapes, float first = 0, const char* name = "trained.safetensors") {
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, TensorView> tensors;
    for (const auto& [tensor, shape] : shapes) {
      std::vector<float>& data = values[tensor];
      data.resize(static_cast<size_t>(
          std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>())));
      std::iota(data.begin(), data.end(), first);
      TensorView view;
      view.dtype = DType::kFloat32;
      view.shape = shape;
      view.data = data.data();
      view.bytes = data.size() * sizeof(float);
      tensors[tensor] = view;
    }
    const fs::path file = folder_ / name;
    EXPECT_TRUE(WriteSafetensors(file, tensors).ok());
    return file;
  }

  ProcessorRule Rule(const fs::path& weights,
                     std::vector<std::pair<std::string, OptionValue>> options = {},
                     const std::string& layers = "*") {
    ProcessorRule rule;
    rule.layers = layers;
    rule.processor = "CustomDiffusionAttnProcessor2_0";
    rule.weights = weights;
    rule.options = std::move(options);
    return rule;
  }

  StatusOr<VariantBindings> Bind(std::vector<ProcessorRule> rules) {
    VariantSettings variant;
    for (size_t i = 0; i < rules.size(); ++i) {
      rules[i].json_path = "rules[" + std::to_string(i) + "]";
    }
    variant.processors = std::move(rules);
    return BindVariant(variant, kLayers, BackendRegistry(), backend_);
  }

  std::string Refusal(const ProcessorRule& rule) {
    const auto bindings = Bind({rule});
    if (bindings.ok()) return "accepted";
    EXPECT_EQ(bindings.status().code(), Code::kInvalidArgument);
    return bindings.status().message();
  }

  fs::path folder_;
  std::shared_ptr<Backend> backend_;
};

TEST_F(TrainedWeights, LayersThatAreNotInTheFileKeepTheirBinding) {
  ProcessorRule math;
  math.layers = "b.*";
  math.processor = "AttnProcessor";
  Shapes shapes = kKv;
  shapes["other.attn2.processor.to_k_custom_diffusion.weight"] = {1};  // another model's layer
  const auto bindings = Bind({math, Rule(Write(shapes))});
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  EXPECT_EQ(bindings->Find("a.attn1")->processor->name, "AttnProcessor2_0");
  EXPECT_EQ(bindings->Find("b.attn2")->processor->name, "AttnProcessor");
  const LayerBinding& bound = *bindings->Find("a.attn2");
  EXPECT_EQ(bound.processor->name, "CustomDiffusionAttnProcessor2_0");
  EXPECT_EQ(bound.OptionsText(), "train_kv=true, train_q_out=false, out_bias=false, weights=\"" +
                                     (folder_ / "trained.safetensors").string() + "\"");
}

TEST_F(TrainedWeights, OptionsComeFromTheFile) {
  const auto text = [&](const Shapes& shapes) {
    const auto bindings = Bind({Rule(Write(shapes))});
    if (!bindings.ok()) return bindings.status().message();
    const ProcessorOptions& options = bindings->Find("a.attn2")->options;
    return options.Text(*bindings->Find("a.attn2")->processor);
  };
  EXPECT_EQ(text(kKv), "train_kv=true, train_q_out=false, out_bias=false");
  EXPECT_EQ(text(kQOut), "train_kv=false, train_q_out=true, out_bias=true");
  Shapes without_bias = Both();
  without_bias.erase(kOutBias);
  EXPECT_EQ(text(without_bias), "train_kv=true, train_q_out=true, out_bias=false");
}

TEST_F(TrainedWeights, WhatIsSaidMustBeThere) {
  const fs::path file = Write(kKv);
  EXPECT_EQ(Refusal(Rule(file, {{"train_q_out", true}})), "rules[0].weights: " + file.string() +
                                                              ": tensor '" + kQ +
                                                              "' is missing: train_q_out is true");
  EXPECT_EQ(Refusal(Rule(file, {{"train_kv", false}})), "rules[0].weights: " + file.string() +
                                                            ": tensor '" + kK +
                                                            "' is there, but train_kv is false");
  EXPECT_EQ(Refusal(Rule(file, {{"train_kv", true}, {"train_q_out", false}})), "accepted");
  const fs::path both = Write(Both(), 0, "both.safetensors");
  EXPECT_EQ(Refusal(Rule(both)), "accepted");
  EXPECT_THAT(Refusal(Rule(both, {{"train_q_out", false}})), HasSubstr(kQ + "' is there"));
  EXPECT_THAT(Refusal(Rule(both, {{"out_bias", false}})), HasSubstr(kOutBias + "' is there"));
  Shapes half = kKv;
  half.erase(kV);
  EXPECT_EQ(Refusal(Rule(Write(half, 0, "half.safetensors"))),
            "rules[0].weights: " + (folder_ / "half.safetensors").string() + ": tensor '" + kV +
                "' is missing: the file has its sibling");
  Shapes no_bias = kQOut;
  no_bias.erase(kOutBias);
  EXPECT_THAT(Refusal(Rule(Write(no_bias, 0, "no_bias.safetensors"), {{"out_bias", true}})),
              HasSubstr(kOutBias + "' is missing: out_bias is true"));
}

TEST_F(TrainedWeights, SizesAreTheLayers) {
  Shapes shapes = kKv;
  shapes[kK] = {kWidth, kWidth};
  const fs::path file = Write(shapes);
  EXPECT_EQ(Refusal(Rule(file)), "rules[0].weights: " + file.string() + ": tensor '" + kK +
                                     "' has shape [8,8], the layer takes [8,6]");
  const fs::path good = Write(kKv, 0, "good.safetensors");
  EXPECT_EQ(Refusal(Rule(good, {{"hidden_size", int64_t{320}}})),
            "rules[0].hidden_size: layer 'a.attn2' has 8 channels, got 320");
  EXPECT_EQ(Refusal(Rule(good, {{"cross_attention_dim", int64_t{768}}})),
            "rules[0].cross_attention_dim: the keys of layer 'a.attn2' are made of 6 channels, got "
            "768");
  EXPECT_EQ(Refusal(Rule(good, {{"hidden_size", int64_t{8}}, {"cross_attention_dim", int64_t{6}}})),
            "accepted");
}

TEST_F(TrainedWeights, FilesAreChecked) {
  EXPECT_THAT(Refusal(Rule(folder_ / "none.safetensors")), StartsWith("rules[0].weights: "));
  const fs::path file = Write(kKv);
  EXPECT_THAT(
      Refusal(Rule(file, {}, "b.*")),
      StartsWith("rules[0].weights: " + file.string() +
                 ": no tensor of a Custom Diffusion processor is for a layer that 'b.*' matches"));
  Shapes odd = kKv;
  odd["a.attn2.processor.to_k_lora.down.weight"] = {1};
  EXPECT_THAT(Refusal(Rule(Write(odd, 0, "odd.safetensors"))),
              HasSubstr("tensor 'a.attn2.processor.to_k_lora.down.weight' is none of a Custom "
                        "Diffusion processor"));
  std::ofstream(folder_ / "pickle.bin") << "PK";
  EXPECT_THAT(Refusal(Rule(folder_ / "pickle.bin")),
              StartsWith("rules[0].weights: expected a .safetensors file, got \"" +
                         (folder_ / "pickle.bin").string() + "\"; save_attn_procs("));
  EXPECT_THAT(Refusal(Rule(folder_)), HasSubstr("expected a .safetensors file"));
}

TEST_F(TrainedWeights, WithoutAFileNothingIsTrained) {
  EXPECT_THAT(
      Refusal(Rule("")),
      StartsWith("rules[0].weights: CustomDiffusionAttnProcessor2_0 needs the file of its "
                 "trained tensors, since train_kv is unsaid, which diffusers takes as true"));
  EXPECT_THAT(Refusal(Rule("", {{"train_kv", false}})),
              HasSubstr("since train_q_out is unsaid, which diffusers takes as true"));
  EXPECT_EQ(Refusal(Rule("", {{"train_kv", false}, {"train_q_out", false}})), "accepted");
  // xFormers' one has another default.
  ProcessorRule xformers = Rule("", {{"train_kv", false}});
  xformers.processor = "CustomDiffusionXFormersAttnProcessor";
  EXPECT_EQ(Refusal(xformers), "accepted");
}

TEST_F(TrainedWeights, ContentDecidesTheFingerprint) {
  const auto fingerprint = [&](const fs::path& file) { return Bind({Rule(file)})->fingerprint(); };
  const fs::path one = Write(kKv, 0, "one.safetensors");
  const std::string before = fingerprint(one);
  EXPECT_EQ(fingerprint(one), before);
  EXPECT_NE(Bind({})->fingerprint(), before);
  EXPECT_NE(fingerprint(Write(kKv, 1, "two.safetensors")), before);
  Write(kKv, 2, "one.safetensors");  // trained anew
  EXPECT_NE(fingerprint(one), before);
}

TEST_F(TrainedWeights, OneStoreForAllLayersOfARule) {
  Shapes shapes = kKv;
  for (const auto& [name, shape] : kKv) shapes["b" + name.substr(1)] = shape;
  auto bindings = Bind({Rule(Write(shapes))});
  ASSERT_TRUE(bindings.ok()) << bindings.status().message();
  EXPECT_EQ(bindings->Find("a.attn2")->weights, bindings->Find("b.attn2")->weights);
  const std::weak_ptr<const WeightStore> store = bindings->Find("a.attn2")->weights;
  const VariantBindings kept = *bindings;
  bindings = Bind({});
  EXPECT_FALSE(store.expired()) << "plans are built of it as long as the bindings live";
}

}  // namespace
}  // namespace unetd
