// The shipped model against whole denoising loops of diffusers: all on the default backend where it
// was built, the most involved one on the reference backend, which is slow.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/serving/server_fixture.h"

namespace unetd {
namespace {

ProcessorRule Slanted() {
  ProcessorRule rule;
  rule.json_path = "models[0].variants[0].processors[0]";
  rule.layers = "*.attn2";
  rule.processor = "CustomDiffusionAttnProcessor";
  rule.weights = Digits() / "slanted/pytorch_custom_diffusion_weights.safetensors";
  return rule;
}

std::unique_ptr<Server> Serve(const std::string& backend, const std::vector<ProcessorRule>& rules) {
  Settings settings = TinySettings();
  settings.backends[0].name = backend;
  ModelSettings digits;
  digits.name = "digits";
  digits.path = Digits() / "unet";
  digits.backend = backend;
  digits.json_path = "models[0]";
  digits.variants = {VariantSettings{}};
  digits.variants[0].processors = rules;
  settings.models = {digits};
  auto server = Server::Create(settings, std::filesystem::path(UNETD_BUILD_DIR) / "lib/unetd");
  const Status status = server->Load();
  EXPECT_TRUE(status.ok()) << status.message();
  return server;
}

void ExpectNear(const std::string& name, const TensorView& want, const OutputTensor& output) {
  ASSERT_EQ(output.bytes.size(), want.elements() * sizeof(float)) << name;
  double square = 0, worst = 0;
  for (uint64_t i = 0; i < want.elements(); ++i) {
    float got;
    std::memcpy(&got, output.bytes.data() + i * 4, 4);
    square += want.as<float>()[i] * want.as<float>()[i];
    worst = std::max<double>(worst, std::fabs(got - want.as<float>()[i]));
  }
  EXPECT_LE(worst, 2e-4 * std::sqrt(square / static_cast<double>(want.elements()))) << name;
}

void ExpectDiffusers(const std::string& backend, const std::vector<std::string>& goldens,
                     const std::vector<ProcessorRule>& rules = {}) {
  const auto server = Serve(backend, rules);
  for (const std::string& name : goldens) {
    auto opened = SafetensorsFile::Open(Golden("digits/" + name + ".safetensors"));
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    const SafetensorsFile& file = **opened;
    const auto number = [&](const char* key) { return std::stod(file.metadata().at(key)); };
    const auto tensor = [&](const std::string& key) { return file.tensors().at(key); };
    DenoiseRequest request;
    request.model = "digits";
    request.num_inference_steps = static_cast<int64_t>(number("num_inference_steps"));
    request.guidance_scale = number("guidance_scale");
    request.guidance_rescale = number("guidance_rescale");
    request.eta = number("eta");
    request.use_clipped_model_output = true;
    request.latents = tensor("latents");
    request.conditions = {{"encoder_hidden_states", tensor("conditions")}};
    if (file.tensors().contains("negative_conditions")) {
      request.negative_conditions = {{"encoder_hidden_states", tensor("negative_conditions")}};
    }
    std::vector<float> noise;
    for (int64_t i = 0; request.eta > 0 && i < request.num_inference_steps; ++i) {
      const TensorView view = tensor("noise." + std::to_string(i));
      noise.insert(noise.end(), view.as<float>(), view.as<float>() + view.elements());
    }
    if (request.eta > 0) {
      Shape shape = request.latents->shape;
      shape.insert(shape.begin(), request.num_inference_steps);
      request.noise = TensorView{DType::kFloat32, shape, noise.data(), noise.size() * 4};
    }
    auto recorder = Denoise(*server, request);
    const auto& result = recorder->result.Wait();
    ASSERT_TRUE(result.ok()) << name << ": " << result.status().message();
    ExpectNear(name, tensor("result"), result->sample);
  }
}

void ExpectForward(const std::string& name, const std::vector<ProcessorRule>& rules) {
  const auto server = Serve(kDefaultBackend, rules);
  auto opened = SafetensorsFile::Open(Golden("digits/" + name + ".safetensors"));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const auto& tensors = (*opened)->tensors();
  InferRequest request;
  request.model = "digits";
  for (const char* input : {"sample", "timestep", "encoder_hidden_states"}) {
    request.inputs.push_back({input, tensors.at(std::string("in.") + input)});
  }
  const auto result = Infer(*server, request);
  ASSERT_TRUE(result.ok()) << name << ": " << result.status().message();
  ExpectNear(name, tensors.at("out.out_sample"), result->outputs.at(0));
}

TEST(DigitsGolden, DenoisesAsDiffusersOnTheReference) {
  ExpectDiffusers("reference", {"denoise_noise"});
}

TEST(DigitsGolden, DenoisesAsDiffusersOnTheDefaultBackend) {
  ExpectDiffusers(kDefaultBackend,
                  {"denoise", "denoise_rescale", "denoise_noise", "denoise_unguided"});
}

TEST(DigitsGolden, SlantsThemAsDiffusersOnTheDefaultBackend) {
  ExpectDiffusers(kDefaultBackend, {"slanted"}, {Slanted()});
}

TEST(DigitsGolden, AForwardIsDiffusersWithAndWithoutTrainedProcessors) {
  ExpectForward("forward", {});
  ExpectForward("slanted_forward", {Slanted()});
}

}  // namespace
}  // namespace unetd
