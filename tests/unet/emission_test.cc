// What is emitted: in which section, and without which copies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <map>

#include "server/backend/reference.h"
#include "server/backend/registry.h"
#include "server/plan/graph.h"
#include "server/plan/plan.h"
#include "server/unet/unet.h"
#include "server/weights/weight_store.h"
#include "tests/unet/golden.h"

namespace unetd::test {
namespace {

using testing::HasSubstr;

struct Emitted {
  std::shared_ptr<const ModelUNet> unet;
  std::shared_ptr<WeightStore> weights;
  std::shared_ptr<Backend> backend;
  VariantBindings bindings;
  std::unique_ptr<PlanBuilder> builder;

  const std::vector<Node>& nodes() const { return builder->graph().nodes; }
  Status Compiled() const {
    CompileOptions options;
    options.structure_only = true;
    const auto plan = Compile(*builder, options);
    return plan.ok() ? OkStatus() : plan.status();
  }
};

Emitted Emit(const std::string& model, const std::function<void(UNetShape&)>& change = {},
             const std::vector<ProcessorRule>& rules = {}, const char* weights_of = nullptr,
             std::shared_ptr<Backend> backend = nullptr) {
  Emitted e;
  std::string why;
  e.backend = backend != nullptr ? std::move(backend) : GoldenBackend("reference", why);
  e.unet = *ModelUNet::Load(GoldenFolder() / "unet" / model);
  e.weights = *WeightStore::OpenFolder(GoldenFolder() / "unet" / (weights_of ? weights_of : model));
  VariantSettings variant;
  variant.processors = rules;
  auto bindings = BindVariant(variant, e.unet->layers(), BackendRegistry(), e.backend);
  EXPECT_TRUE(bindings.ok()) << bindings.status().message();
  e.bindings = *std::move(bindings);
  UNetShape shape = e.unet->LikelyShape(e.unet->DefaultSize());
  if (change) change(shape);
  e.builder = std::make_unique<PlanBuilder>(
      PlanBuilder::Context{e.backend, e.weights.get(), DType::kFloat32});
  e.unet->Emit(*e.builder, shape, e.bindings);
  return e;
}

bool ReadsWeight(const Node& node, const std::string& ending) {
  for (const NodeWeight& weight : node.weights) {
    if (weight.ref.name.ends_with(ending)) return true;
  }
  return false;
}

TEST(Emission, TextKeysAndValuesAreOfTheCondition) {
  const Emitted e = Emit("x4_upscaler");
  ASSERT_TRUE(e.builder->status().ok()) << e.builder->status().message();
  size_t cross = 0, self = 0;
  for (const Node& node : e.nodes()) {
    if (!ReadsWeight(node, ".to_k.weight")) continue;
    EXPECT_TRUE(ReadsWeight(node, ".to_v.weight"));
    const bool with_q = ReadsWeight(node, ".to_q.weight");
    EXPECT_EQ(node.section, with_q ? Section::kStep : Section::kCondition);
    (with_q ? self : cross) += 1;
  }
  size_t expected_cross = 0;
  for (const AttentionLayer& layer : e.unet->layers()) expected_cross += layer.is_cross();
  EXPECT_EQ(cross, expected_cross);
  EXPECT_EQ(self, e.unet->layers().size() - expected_cross);
}

TEST(Emission, TimeProjectionsAreOfTheScheduleAndShareOneActivation) {
  const Emitted e = Emit("sdxl");
  ASSERT_TRUE(e.builder->status().ok()) << e.builder->status().message();
  size_t projections = 0, elementwise = 0;
  for (const Node& node : e.nodes()) {
    if (ReadsWeight(node, ".time_emb_proj.weight")) {
      EXPECT_EQ(node.section, Section::kSchedule);
      ++projections;
    }
    if (node.desc.kind == UNETD_OP_ELEMENTWISE) {
      EXPECT_EQ(node.section, Section::kSchedule);
      ++elementwise;
    }
    if (ReadsWeight(node, "add_embedding.linear_1.weight")) {
      EXPECT_EQ(node.section, Section::kCondition);
    }
  }
  size_t resnets = 0;
  for (const BlockLayout* block : e.unet->layout().InModuleOrder())
    resnets += block->resnets.size();
  EXPECT_EQ(projections, resnets);
  // No residual, activation or concatenation of the image is an operator of its own.
  EXPECT_EQ(elementwise, 1u);
}

// What neither the timestep nor the sample touches is computed once a request, what only the
// timestep does, once a step for all its forwards.
TEST(Emission, ConditionsOfEveryKindAreOfTheCondition) {
  struct Expected {
    const char* model;
    const char* weight;
    Section section;
  };
  const Expected kExpected[] = {
      {"deepfloyd_if", ".add_k_proj.weight", Section::kCondition},
      {"deepfloyd_if", "add_embedding.proj.weight", Section::kCondition},
      {"kandinsky_21", "encoder_hid_proj.image_embeds.weight", Section::kCondition},
      {"kandinsky_22_controlnet", "input_hint_block.14.weight", Section::kCondition},
      {"latent_upscaler", "attn2.to_k.weight", Section::kCondition},
      {"latent_upscaler", "norm2.linear.weight", Section::kSchedule},
      {"gligen", "position_net.linears.4.weight", Section::kCondition},
      {"gligen", "fuser.linear.weight", Section::kCondition},
      {"gligen", "fuser.attn.to_q.weight", Section::kStep},
  };
  for (const Expected& expected : kExpected) {
    const Emitted e = Emit(expected.model);
    ASSERT_TRUE(e.builder->status().ok()) << e.builder->status().message();
    size_t found = 0;
    for (const Node& node : e.nodes()) {
      if (!ReadsWeight(node, expected.weight)) continue;
      EXPECT_EQ(node.section, expected.section) << expected.model << ", " << node.layer;
      ++found;
    }
    EXPECT_GT(found, 0u) << expected.model << " reads no " << expected.weight;
  }
}

TEST(Emission, ConcatenationsAndUpsamplingAreFoldedIntoTheirReaders) {
  const Emitted e = Emit("sd15", [](UNetShape& shape) { shape.size = {10, 14}; });
  ASSERT_TRUE(e.builder->status().ok()) << e.builder->status().message();
  size_t two_sources = 0, resized = 0;
  for (const Node& node : e.nodes()) {
    EXPECT_NE(node.desc.kind, uint32_t{UNETD_OP_RESIZE});
    if (node.desc.kind == UNETD_OP_GROUP_NORM) {
      two_sources += node.desc.args[UNETD_ARG_SRC1].tokens != 0;
    }
    if (node.desc.kind == UNETD_OP_CONV2D && node.desc.u.conv2d.resize_h != 0) ++resized;
  }
  EXPECT_EQ(two_sources, 12u);
  EXPECT_EQ(resized, 3u);
}

TEST(Emission, NamesTheLayerOfAMissingTensor) {
  // Same modules, other widths.
  const Emitted e = Emit("sd15", {}, {}, "sdxl");
  EXPECT_EQ(e.builder->status().code(), Code::kInvalidArgument);
  EXPECT_THAT(e.builder->status().message(), HasSubstr("tensor '"));
  EXPECT_EQ(e.Compiled().message(), e.builder->status().message());
}

TEST(Emission, RefusesASampleThatIsTooSmall) {
  const Emitted e = Emit("downsample_padding_0", [](UNetShape& shape) { shape.size = {1, 1}; });
  EXPECT_THAT(e.builder->status().message(),
              HasSubstr("a sample of 1x1 does not fit this UNet: 1x1 is too small for"));
}

TEST(Emission, ReadsEveryTensorOfTheCheckpoint) {
  for (const char* model :
       {"sd15", "sdxl", "lcm", "kolors", "x4_upscaler", "ssd_1b", "koala", "deepfloyd_if",
        "deepfloyd_if_ii", "kandinsky_21", "kandinsky_22_controlnet", "unclip_decoder",
        "latent_upscaler", "attn_blocks", "gligen", "gligen_text_image"}) {
    const Emitted e = Emit(model);
    ASSERT_TRUE(e.builder->status().ok()) << e.builder->status().message();
    std::map<std::string, int> reads;
    for (const std::string& name : e.builder->graph().weights_used) ++reads[name];
    for (const std::string& name : e.weights->Names()) {
      // A fuser norms the image and the objects with one norm.
      const bool twice = name.find(".fuser.norm1.") != std::string::npos;
      EXPECT_EQ(reads[name], twice ? 2 : 1) << model << ": " << name;
    }
  }
}

ProcessorRule SlicedText() {
  ProcessorRule rule;
  rule.layers = "*.attn2";
  rule.processor = "SlicedAttnProcessor";
  rule.options = {{"slice_size", int64_t{1}}};
  rule.json_path = "models[0].variants[1].processors[0]";
  return rule;
}

TEST(Emission, EveryLayerRunsAsItsRuleSays) {
  const Emitted e = Emit("sd15", {}, {SlicedText()});
  size_t layers = 0;
  for (const Node& node : e.nodes()) {
    if (node.desc.kind != UNETD_OP_ATTENTION) continue;
    const bool cross = node.layer.ends_with(".attn2");
    EXPECT_EQ(node.desc.u.attention.algorithm,
              cross ? uint32_t{UNETD_ATTENTION_SLICED} : uint32_t{UNETD_ATTENTION_SDPA});
    EXPECT_EQ(node.desc.u.attention.slice_size, cross ? 1u : 0u);
    ++layers;
  }
  EXPECT_EQ(layers, e.unet->layers().size());
}

// The reference provider, but for sliced attention.
const unetd_backend* ChoosyTable() {
  static const unetd_backend table = [] {
    unetd_backend choosy = *ReferenceBackend();
    choosy.name = "choosy";
    choosy.supports = [](void* state, const unetd_op_desc* desc, unetd_error* why) -> int32_t {
      if (desc->kind != UNETD_OP_ATTENTION ||
          desc->u.attention.algorithm != UNETD_ATTENTION_SLICED) {
        return ReferenceBackend()->supports(state, desc, why);
      }
      std::snprintf(why->text, sizeof(why->text), "no slices here");
      return UNETD_UNSUPPORTED;
    };
    return choosy;
  }();
  return &table;
}

TEST(Emission, ARefusalNamesRuleLayerAndReason) {
  const auto choosy = Backend::Open(ChoosyTable(), {}, "this test");
  ASSERT_TRUE(choosy.ok()) << choosy.status().message();
  const auto compile = [&](const ProcessorRule& rule) {
    const Emitted e = Emit("sd15", {}, {rule}, nullptr, *choosy);
    return e.bindings.Explain(e.Compiled());
  };
  ProcessorRule rule = SlicedText();
  const Status refused = compile(rule);
  EXPECT_THAT(refused.message(),
              testing::StartsWith("models[0].variants[1].processors[0]: layer "
                                  "'down_blocks.0.attentions.0.transformer_blocks.0.attn2'"));
  EXPECT_THAT(refused.message(), HasSubstr("backend 'choosy' refuses: no slices here"));
  rule.fallback = "sdpa";
  EXPECT_TRUE(compile(rule).ok()) << compile(rule).message();
}

}  // namespace
}  // namespace unetd::test
