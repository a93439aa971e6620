// Families whose inputs are more than a sample, a timestep and a text: from their files, through
// load and warming, to the output that diffusers computed.
#include <cmath>

#include "server/weights/weight_store.h"
#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

constexpr const char* kFamilies[] = {"deepfloyd_if",
                                     "deepfloyd_if_ii",
                                     "kandinsky_21",
                                     "kandinsky_22",
                                     "kandinsky_22_controlnet",
                                     "unclip_decoder",
                                     "unclip_super_res",
                                     "latent_upscaler",
                                     "attn_blocks",
                                     "attn_legacy_names",
                                     "gligen",
                                     "gligen_text_image"};

Settings Serving(const std::string& family) {
  Settings settings = TinySettings();
  ModelSettings model = settings.models.back();  // "bare"
  model.name = family;
  model.path = Golden("unet/" + family);
  model.shapes.clear();  // sample_size
  settings.models = {model};
  return settings;
}

class Families : public testing::TestWithParam<const char*> {};

TEST_P(Families, AreServedAsDiffusersComputesThem) {
  const std::string family = GetParam();
  auto server = Loaded(Serving(family));
  const auto model = server->DescribeModel(family);
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_TRUE(model->unused_tensors.empty()) << model->unused_tensors.front();

  const auto io = WeightStore::OpenFolder(Golden("unet/" + family + "/io.safetensors"));
  ASSERT_TRUE(io.ok()) << io.status().message();
  InferRequest request;
  request.model = family;
  for (const std::string& name : (*io)->Names()) {
    if (name.starts_with("in.")) request.inputs.push_back({name.substr(3), *(*io)->Find(name)});
  }
  const auto answer = Infer(*server, request);
  ASSERT_TRUE(answer.ok()) << answer.status().message();
  const TensorView& expected = *(*io)->Find("out.out_sample");
  const OutputTensor& got = answer->outputs.front();
  ASSERT_EQ(got.shape, expected.shape);
  double squares = 0, worst = 0;
  const auto* values = reinterpret_cast<const float*>(got.bytes.data());
  for (uint64_t i = 0; i < expected.elements(); ++i) {
    const double want = expected.as<float>()[i], difference = std::abs(want - values[i]);
    if (!(difference <= worst)) worst = difference;
    squares += want * want;
  }
  const double size = std::sqrt(squares / static_cast<double>(expected.elements()));
  EXPECT_LE(worst, 1e-4 * size);
}

INSTANTIATE_TEST_SUITE_P(, Families, testing::ValuesIn(kFamilies),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace unetd
