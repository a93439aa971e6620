// A server on the reference backend with small models, and how tests call it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/serving/server.h"
#include "server/weights/safetensors.h"
#include "tests/serving/fake_job.h"

namespace unetd {

// Waits for the one answer of a call.
template <typename T>
class Answer {
 public:
  void Set(StatusOr<T> answer) {
    {
      std::lock_guard lock(mutex_);
      ++count_;
      answer_ = std::move(answer);
    }
    gate_.Open();
  }
  StatusOr<T>& Wait() {
    if (!gate_.WaitLong()) answer_ = StatusOr<T>(Internal("no answer within five minutes"));
    return *answer_;
  }
  int count() const {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  mutable std::mutex mutex_;
  int count_ = 0;
  std::optional<StatusOr<T>> answer_;
  Gate gate_;
};

class Recorder : public DenoiseListener {
 public:
  void OnAccepted(const DenoiseAccepted& a) override { accepted = a; }
  void OnProgress(const DenoiseProgress& p) override {
    progress.push_back(p);
    if (on_progress) on_progress(p);
  }
  void OnPreview(int64_t step, OutputTensor preview) override {
    previews.emplace(step, std::move(preview));
  }
  void OnFinished(StatusOr<DenoiseResult> r) override { result.Set(std::move(r)); }

  // After result.Wait().
  std::optional<DenoiseAccepted> accepted;
  std::vector<DenoiseProgress> progress;
  std::map<int64_t, OutputTensor> previews;
  std::function<void(const DenoiseProgress&)> on_progress;
  Answer<DenoiseResult> result;
};

struct FloatTensor {
  std::string name;
  Shape shape;
  std::vector<float> values;
  NamedTensor Named() const {
    return {name, {DType::kFloat32, shape, values.data(), values.size() * sizeof(float)}};
  }
};

// Values that are neither equal nor large.
inline FloatTensor Ramp(std::string name, Shape shape, float phase = 0) {
  FloatTensor tensor{std::move(name), shape, {}};
  tensor.values.resize(*CheckedElements(shape));
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    tensor.values[i] = std::sin(0.37f * static_cast<float>(i) + phase);
  }
  return tensor;
}

inline std::filesystem::path Golden(const std::string& path) {
  return std::filesystem::path(UNETD_SOURCE_DIR) / "tests/golden" / path;
}
inline std::filesystem::path Digits() {
  return std::filesystem::path(UNETD_SOURCE_DIR) / "config/digits";
}

// "labels" (tests/golden/unet/class_labels: sample [B,4,8,8], labels, text [B,S,10]) with the
// digits' scheduler and the variants "plain" and "sliced"; "bare" is the same UNet without a
// scheduler.
inline Settings TinySettings() {
  Settings settings;
  settings.server.limits.memory_mib = 256;
  settings.server.limits.queue = 8;
  BackendSettings reference;
  reference.name = "reference";
  settings.backends = {reference};
  ModelSettings labels;
  labels.name = "labels";
  labels.path = Golden("unet/class_labels");
  labels.scheduler = Digits() / "scheduler";
  labels.backend = "reference";
  labels.max_batch = 4;
  labels.json_path = "models[0]";
  labels.shapes = {{8, 8}};
  VariantSettings plain, sliced;
  plain.name = "plain";
  plain.weight = 3;
  plain.json_path = "models[0].variants[0]";
  sliced.name = "sliced";
  sliced.json_path = "models[0].variants[1]";
  ProcessorRule rule;
  rule.layers = "*.attn1";
  rule.processor = "SlicedAttnProcessor";
  rule.options = {{"slice_size", OptionValue(int64_t{1})}};
  rule.json_path = "models[0].variants[1].processors[0]";
  sliced.processors = {rule};
  labels.variants = {plain, sliced};
  ModelSettings bare = labels;
  bare.name = "bare";
  bare.scheduler.clear();
  bare.variants = {plain};
  bare.json_path = "models[1]";
  settings.models = {labels, bare};
  return settings;
}

inline std::unique_ptr<Server> Loaded(Settings settings) {
  auto server = Server::Create(std::move(settings), "");
  const Status status = server->Load();
  EXPECT_TRUE(status.ok()) << status.message();
  return server;
}

// An inference of "labels": rows of zeros' neighbours, text of `tokens`.
struct TinyInfer {
  explicit TinyInfer(int64_t rows = 1, int64_t tokens = 5, int64_t side = 8)
      : sample(Ramp("sample", {rows, 4, side, side})),
        text(Ramp("encoder_hidden_states", {rows, tokens, 10}, 1)),
        labels(rows) {
    for (int64_t i = 0; i < rows; ++i) labels[i] = i % 3;
  }
  InferRequest Request() const {
    InferRequest request;
    request.model = "labels";
    request.variant = "plain";
    request.inputs = {
        sample.Named(),
        {"timestep", {DType::kInt64, {1}, &timestep, sizeof(timestep)}},
        text.Named(),
        {"class_labels",
         {DType::kInt64, {static_cast<int64_t>(labels.size())}, labels.data(), labels.size() * 8}}};
    return request;
  }

  FloatTensor sample, text;
  std::vector<int64_t> labels;
  int64_t timestep = 500;
};

inline StatusOr<InferResult> Infer(Server& server, InferRequest request) {
  Answer<InferResult> answer;
  server.Infer(std::move(request), [&](StatusOr<InferResult> r) { answer.Set(std::move(r)); });
  return std::move(answer.Wait());
}

// A denoising of "labels": `rows` seeds from 100 on.
struct TinyDenoise {
  explicit TinyDenoise(int64_t rows = 1, int64_t tokens = 5)
      : text(Ramp("encoder_hidden_states", {rows, tokens, 10}, 1)),
        other(Ramp("encoder_hidden_states", {rows, tokens, 10}, 2)),
        labels(rows, 1),
        shape({rows, 4, 8, 8}) {
    for (int64_t i = 0; i < rows; ++i) seeds.push_back(100 + i);
  }
  DenoiseRequest Request() const {
    const NamedTensor label{"class_labels",
                            {DType::kInt64, {shape[0]}, labels.data(), labels.size() * 8}};
    DenoiseRequest request;
    request.model = "labels";
    request.variant = "plain";
    request.num_inference_steps = 4;
    request.shape = shape;
    request.seeds = seeds;
    request.conditions = {text.Named(), label};
    request.negative_conditions = {label, other.Named()};
    request.guidance_scale = 2;
    return request;
  }

  FloatTensor text, other;
  std::vector<int64_t> labels;
  std::vector<uint64_t> seeds;
  Shape shape;
};

inline std::shared_ptr<Recorder> Denoise(Server& server, DenoiseRequest request) {
  auto recorder = std::make_shared<Recorder>();
  server.Denoise(std::move(request), recorder);
  recorder->result.Wait();
  return recorder;
}

}  // namespace unetd
