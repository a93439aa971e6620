// Denoising with pictures, a learned variance, residuals that change with every step: against the
// loop as a client runs it.
#include "tests/serving/client_loop.h"

namespace unetd {
namespace {

class PictureLoops : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Settings settings = TinySettings();
    const ModelSettings labels = settings.models.front();
    settings.models = {labels};
    for (const char* family : {"inpaint", "ip2p", "deepfloyd_if", "residuals"}) {
      ModelSettings model = labels;
      model.name = family;
      model.path = Golden(std::string("unet/") + family);
      model.variants.resize(1);
      settings.models.push_back(model);
    }
    server_ = Loaded(std::move(settings)).release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  // Guided, two rows, `text` for a model that takes one of so many tokens and channels.
  struct Texts {
    explicit Texts(int64_t tokens, int64_t width)
        : text(Ramp("encoder_hidden_states", {2, tokens, width}, 1)),
          other(Ramp("encoder_hidden_states", {2, tokens, width}, 2)) {}
    DenoiseRequest Request(const char* model) const {
      DenoiseRequest request;
      request.model = model;
      request.num_inference_steps = 4;
      request.seeds = {7, 8};
      request.conditions = {text.Named()};
      request.negative_conditions = {other.Named()};
      request.guidance_scale = 3;
      return request;
    }
    FloatTensor text, other;
  };

  std::string Sample(DenoiseRequest request) {
    auto recorder = Denoise(*server_, std::move(request));
    auto& result = recorder->result.Wait();
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? result->sample.bytes : "";
  }
  std::string ErrorOf(DenoiseRequest request) {
    auto recorder = Denoise(*server_, std::move(request));
    const auto& result = recorder->result.Wait();
    EXPECT_EQ(result.status().code(), Code::kInvalidArgument) << result.status().message();
    return result.status().message();
  }
  static Server* server_;
};
Server* PictureLoops::server_ = nullptr;

// 1 in the left half.
FloatTensor HalfMask(const Shape& shape) {
  FloatTensor mask{"mask", {shape[0], 1, shape[2], shape[3]}, {}};
  mask.values.resize(*CheckedElements(mask.shape));
  for (size_t i = 0; i < mask.values.size(); ++i) {
    mask.values[i] = i % static_cast<size_t>(shape[3]) < static_cast<size_t>(shape[3]) / 2;
  }
  return mask;
}

TEST_F(PictureLoops, AnImageIsNoisedToWhereTheLoopStarts) {
  const TinyDenoise two(2);
  const FloatTensor image = Ramp("image", two.shape, 0.5f);
  DenoiseRequest request = two.Request();
  request.shape.clear();
  request.image_latents = image.Named().view;
  const auto scheduler = SchedulerOf("", 4);
  for (int64_t start : {0, 2}) {
    ClientLoop client{*server_, request};
    FloatTensor latents = client.StartNoise(two.shape);
    scheduler->AddNoise(start, image.values.data(), latents.values.data(), latents.values.size(),
                        latents.values.data());
    request.start_step = start;
    EXPECT_EQ(Sample(request), BytesOf(client.Run(latents, start, 4))) << start;
  }
  // Given noise is the seeds' noise.
  const std::string seeded = Sample(request);
  const FloatTensor noise = ClientLoop{*server_, request}.StartNoise(two.shape);
  request.seeds.clear();
  request.start_noise = noise.Named().view;
  EXPECT_EQ(Sample(request), seeded);
}

TEST_F(PictureLoops, InpaintingPutsBackWhatIsKept) {
  const TinyDenoise two(2);
  const FloatTensor image = Ramp("image", two.shape, 0.5f), mask = HalfMask(two.shape);
  DenoiseRequest request = two.Request();
  request.shape.clear();
  request.image_latents = image.Named().view;
  request.mask = mask.Named().view;
  for (int64_t start : {0, 1}) {
    ClientLoop client{*server_, request};
    const FloatTensor noise = client.StartNoise(two.shape);
    client.after = [&](const Scheduler& scheduler, int64_t next, std::vector<float>& sample) {
      std::vector<float> kept = image.values;
      if (next < 4) {
        scheduler.AddNoise(next, image.values.data(), noise.values.data(), kept.size(),
                           kept.data());
      }
      for (size_t i = 0; i < sample.size(); ++i) {
        const float paint = mask.values[i / 256 * 64 + i % 64];
        sample[i] = (1 - paint) * kept[i] + paint * sample[i];
      }
    };
    FloatTensor latents = noise;
    if (start > 0) {
      SchedulerOf("", 4)->AddNoise(start, image.values.data(), noise.values.data(),
                                   latents.values.size(), latents.values.data());
    }
    request.start_step = start;
    const std::string got = Sample(request);
    EXPECT_EQ(got, BytesOf(client.Run(latents, start, 4))) << start;
    // The last step leaves the picture itself outside of the mask.
    float kept = 0;
    std::memcpy(&kept, got.data() + 7 * sizeof(float), sizeof(kept));
    EXPECT_EQ(kept, image.values[7]);
  }
}

TEST_F(PictureLoops, AUNetThatTakesAMaskIsShownIt) {
  const Texts texts(5, 24);
  const Shape shape = {2, 4, 8, 8};
  const FloatTensor masked = Ramp("masked", shape, 0.3f), mask = HalfMask(shape);
  DenoiseRequest request = texts.Request("inpaint");
  request.shape = shape;
  request.mask = mask.Named().view;
  request.masked_image_latents = masked.Named().view;
  ClientLoop client{*server_, request, false, Joined(mask, masked)};
  const std::string expected = BytesOf(client.Run(client.StartNoise(shape), 0, 4));
  EXPECT_EQ(Sample(request), expected);
  // The same by hand.
  request.mask.reset();
  request.masked_image_latents.reset();
  request.concat_latents = client.beside.Named().view;
  EXPECT_EQ(Sample(request), expected);
}

TEST_F(PictureLoops, ConcatLatentsStandBesideTheSample) {
  const Texts texts(5, 24);
  const Shape shape = {2, 4, 8, 8};
  const FloatTensor picture = Ramp("picture", shape, 0.3f);
  const FloatTensor other{"other", shape, std::vector<float>(picture.values.size())};
  DenoiseRequest request = texts.Request("ip2p");
  request.shape = shape;
  request.concat_latents = picture.Named().view;
  ClientLoop client{*server_, request, false, picture};
  const std::string same = BytesOf(client.Run(client.StartNoise(shape), 0, 4));
  EXPECT_EQ(Sample(request), same);
  request.negative_concat_latents = other.Named().view;
  client.negative_beside = other;
  const std::string apart = BytesOf(client.Run(client.StartNoise(shape), 0, 4));
  EXPECT_EQ(Sample(request), apart);
  EXPECT_NE(same, apart);
}

TEST_F(PictureLoops, AVarianceGoesToTheSchedulerThatReadsIt) {
  const Texts texts(77, 24);
  const Shape shape = {2, 3, 8, 8};
  DenoiseRequest request = texts.Request("deepfloyd_if");
  request.shape = shape;
  request.scheduler_json =
      R"({"_class_name": "DDPMScheduler", "variance_type": "learned_range", "thresholding": true})";
  ClientLoop learned{*server_, request, true};
  const std::string with = Sample(request);
  EXPECT_EQ(with, BytesOf(learned.Run(learned.StartNoise(shape), 0, 4)));
  request.scheduler_json =
      R"({"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "thresholding": true})";
  ClientLoop dropped{*server_, request};
  const std::string without = Sample(request);
  EXPECT_EQ(without, BytesOf(dropped.Run(dropped.StartNoise(shape), 0, 4)));
  EXPECT_NE(with, without);
}

TEST_F(PictureLoops, ResidualsMayChangeWithEveryStep) {
  const auto io = WeightStore::OpenFolder(Golden("unet/residuals/io.controlnet.safetensors"));
  ASSERT_TRUE(io.ok()) << io.status().message();
  DenoiseRequest request;
  request.model = "residuals";
  request.num_inference_steps = 3;
  request.shape = {2, 4, 8, 8};
  request.seeds = {1, 2};
  request.guidance_scale = 2;
  std::vector<NamedTensor> fixed;
  std::vector<FloatTensor> changing, other;
  for (const std::string& name : (*io)->Names()) {
    if (!name.starts_with("in.")) continue;
    const TensorView& view = *(*io)->Find(name);
    if (name.find("residual") == std::string::npos) {
      if (name != "in.sample" && name != "in.timestep") fixed.push_back({name.substr(3), view});
      continue;
    }
    Shape shape = view.shape;
    shape.insert(shape.begin(), 3);
    changing.push_back(Ramp(name.substr(3), shape, 0.1f));
    other.push_back(Ramp(name.substr(3), shape, 0.2f));
  }
  ASSERT_FALSE(changing.empty());
  request.conditions = request.negative_conditions = fixed;
  DenoiseRequest part = request;
  for (size_t i = 0; i < changing.size(); ++i) {
    request.conditions.push_back(changing[i].Named());
    request.negative_conditions.push_back(other[i].Named());
  }
  const std::string whole = Sample(request);

  std::string sample;
  for (int64_t step = 0; step < 3; ++step) {
    const auto at = [&](const FloatTensor& tensor) {
      NamedTensor named = tensor.Named();
      named.view.shape.erase(named.view.shape.begin());
      named.view.bytes /= 3;
      named.view.data = tensor.values.data() + step * static_cast<int64_t>(named.view.elements());
      return named;
    };
    part.conditions = part.negative_conditions = fixed;
    for (size_t i = 0; i < changing.size(); ++i) {
      part.conditions.push_back(at(changing[i]));
      part.negative_conditions.push_back(at(other[i]));
    }
    part.start_step = step;
    part.end_step = step + 1;
    const std::string before = sample;
    if (step > 0) {
      part.shape.clear();
      part.latents = TensorView{DType::kFloat32, {2, 4, 8, 8}, before.data(), before.size()};
    }
    sample = Sample(part);
  }
  EXPECT_EQ(whole, sample);
  request.end_step = 2;
  EXPECT_EQ(ErrorOf(request).find("'down_block_additional_residuals.0': expected 2 steps run"), 0u);
}

TEST_F(PictureLoops, BadPicturesAreNamed) {
  const TinyDenoise two(2);
  const FloatTensor image = Ramp("image", two.shape), mask = HalfMask(two.shape);
  const FloatTensor small = Ramp("small", {2, 4, 4, 4});
  const auto error = [&](const std::function<void(DenoiseRequest&)>& change) {
    DenoiseRequest request = two.Request();
    change(request);
    return ErrorOf(std::move(request));
  };
  EXPECT_EQ(error([&](auto& r) { r.mask = mask.Named().view; }),
            "image_latents: expected floats [2,4,8,8], which the mask keeps, got none");
  EXPECT_EQ(error([&](auto& r) {
              r.image_latents = image.Named().view;
              r.mask = image.Named().view;
            }),
            "mask: expected [2,1,8,8], got [2,4,8,8]");
  EXPECT_EQ(error([&](auto& r) { r.image_latents = small.Named().view; }),
            "shape: expected nothing or the latents' [2,4,4,4], got [2,4,8,8]");
  EXPECT_EQ(error([&](auto& r) { r.concat_latents = image.Named().view; }),
            "concat_latents: expected none, since model 'labels' takes the sample's 4 channels and "
            "no more");
  EXPECT_EQ(error([&](auto& r) {
              r.latents = image.Named().view;
              r.image_latents = image.Named().view;
            }),
            "image_latents: expected none, since the loop starts from given latents, and there is "
            "no mask to keep a part of them");
  EXPECT_EQ(error([&](auto& r) {
              r.latents = image.Named().view;
              r.start_noise = image.Named().view;
            }),
            "start_noise: expected none, since latents are given");
  EXPECT_EQ(error([&](auto& r) { r.start_noise = small.Named().view; }),
            "start_noise: expected floats [2,4,8,8], got FP32 [2,4,4,4]");
  EXPECT_EQ(
      error([&](auto& r) {
        r.scheduler_json = R"({"_class_name": "DDPMScheduler", "variance_type": "learned"})";
      }),
      "scheduler: its variance_type reads a variance, and model 'labels' gives none beside the "
      "latents: it takes 4 channels and gives 4");

  const Texts texts(5, 24);
  DenoiseRequest request = texts.Request("inpaint");
  request.shape = {2, 4, 8, 8};
  EXPECT_EQ(ErrorOf(request),
            "concat_latents: expected floats [2,5,8,8], or mask and masked_image_latents, since "
            "model 'inpaint' takes 5 channels beside the sample's 4, got none");
  request.mask = mask.Named().view;
  EXPECT_EQ(ErrorOf(request),
            "masked_image_latents: expected floats [2,4,8,8], which go with the mask, got none");
  request.concat_latents = image.Named().view;
  EXPECT_EQ(ErrorOf(request),
            "mask: expected none, since concat_latents fill the channels beside the sample");
  request.mask.reset();
  EXPECT_EQ(ErrorOf(request), "concat_latents: expected floats [2,5,8,8], got FP32 [2,4,8,8]");
}

}  // namespace
}  // namespace unetd
