// PlanBuilder: blocks, processors and embeddings *emit* operators through it; Compile (plan.h)
// makes them a plan.
//
// Emission never fails loudly: the first error is kept, later calls return absent values and do
// nothing, and Compile answers with that error. So emitting code has no error paths of its own.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "server/backend/backend.h"
#include "server/base/status.h"
#include "server/plan/value.h"
#include "server/tensor/shape.h"
#include "server/weights/weight_store.h"

namespace unetd {

enum class Activation : uint32_t {
  kNone = UNETD_ACT_NONE,
  kSilu = UNETD_ACT_SILU,
  kGelu = UNETD_ACT_GELU,
  kMish = UNETD_ACT_MISH,
  kRelu = UNETD_ACT_RELU,
  kGeglu = UNETD_ACT_GEGLU,
};

// A tensor of the UNet's checkpoint, or of another store (a trained processor's file). An empty
// name: none.
struct WeightRef {
  std::string name;
  const WeightStore* store = nullptr;
  bool present() const { return !name.empty(); }
};

struct Conv2dSpec {
  WeightRef weight = {};  // [out_channels, in, kernel, kernel]
  WeightRef bias = {};    // [out_channels], or none
  uint32_t out_channels = 0;
  uint32_t kernel = 3;
  uint32_t stride = 1;
  uint32_t pad_top = 1, pad_left = 1, pad_bottom = 1, pad_right = 1;
  Size resize{0, 0};  // nearest: what the input is brought to first; {0, 0}: as it is
  Activation activation = Activation::kNone;
  Value row_bias = {};  // [1, out_channels], added before the activation
  Value residual = {};  // as the output, added after it
  float out_scale = 1.0f;
};

struct LinearSegment {
  WeightRef weight = {};  // [out, in], or a 1x1 convolution's [out, in, 1, 1]
  WeightRef bias = {};    // [out], or none
  uint32_t out = 0;
};
struct LinearSpec {
  std::vector<LinearSegment> segments = {};   // side by side in the output
  Activation activation = Activation::kNone;  // kGeglu halves the output's channels
  Value residual = {};
  float out_scale = 1.0f;
};

struct GroupNormSpec {
  WeightRef gamma = {}, beta = {};  // both or none
  uint32_t groups = 32;
  float eps = 1e-5f;
  Activation activation = Activation::kNone;
  Value row_scale = {}, row_shift = {};  // [1, channels]: y * (1 + scale) + shift, both or none
};

struct AttentionSpec {
  uint32_t algorithm = UNETD_ATTENTION_SDPA;
  uint32_t heads = 1;
  uint32_t head_dim = 1;
  float scale = 1.0f;
  uint32_t slice_size = 0;
  bool upcast_scores = false;
  bool bool_mask = false;
  std::string op = {};  // memory_efficient: xFormers' name, "" = best
  // What q, k and v are cast to where the backend works in another domain; {0}: as they are.
  DType compute = DType{0};
  Value mask = {};                                      // float32 [1, K] or [Q, K], additive
  std::vector<std::shared_ptr<Backend>> backends = {};  // asked in this order
  bool fallback_to_sdpa = false;  // if all refuse: the model's backend with kSdpa
};

// What one attention operator became: shown by --check and DescribeModel.
struct AttentionNote {
  std::string layer = {};
  std::string backend = {};
  uint32_t algorithm = 0;
  std::string kernel = {};                 // the backend's description of its kernel
  std::vector<std::string> refusals = {};  // "backend: reason" of each that was asked and refused
  bool fell_back = false;
};

struct ConvPolicy;  // conv_policy.h

class PlanBuilder {
 public:
  struct Context {
    std::shared_ptr<Backend> backend;                  // the model's: owns the domain
    const WeightStore* weights = nullptr;              // the UNet's checkpoint
    DType dtype = DType::kFloat32;                     // storage of activations and weights
    std::shared_ptr<const ConvPolicy> conv = nullptr;  // null: auto, by each layer's own size
  };
  explicit PlanBuilder(Context context);
  ~PlanBuilder();
  PlanBuilder(PlanBuilder&&) noexcept;

  const Context& context() const;

  // -- inputs: a block of each row holds them; staged once at entry (dtype as said) --
  // [channels, h, w] from the request, times scale plus shift, as a channels-last value; `section`
  // as below.
  Value ImageInput(const std::string& name, uint32_t channels, Size size, float scale = 1,
                   float shift = 0, Section section = Section::kStep);
  // [tokens, channels]; `section` kCondition, or kStep for what changes with every step.
  Value TokensInput(const std::string& name, uint32_t tokens, uint32_t channels, DType dtype,
                    Section section = Section::kCondition);
  // [1, 1] float32: the row's timestep.
  Value TimeInput();

  // -- operators --
  Value Conv2d(const Value& x, const Conv2dSpec& spec);
  Value Linear(const Value& x, const LinearSpec& spec);
  Value GroupNorm(const Value& x, const GroupNormSpec& spec);
  Value LayerNorm(const Value& x, const WeightRef& gamma, const WeightRef& beta, float eps);
  Value Attention(const Value& q, const Value& k, const Value& v, const AttentionSpec& spec);
  Value ResizeNearest(const Value& x, Size size);
  Value AveragePool2(const Value& x);
  // KDownsample2D and KUpsample2D: half and double the size, see UNETD_RESIZE_BLUR_DOWN.
  Value BlurDown2(const Value& x);
  Value BlurUp2(const Value& x);
  Value MeanTokens(const Value& x);  // [1, channels]
  // a's tokens, then b's: a copy of both. They have one width and dtype.
  Value ConcatTokens(const Value& a, const Value& b);
  // x * by, where `by` is [1, channels] or [tokens, 1].
  Value Multiply(const Value& x, const Value& by);
  // act(x * scale + shift) + residual, in the model's dtype unless said.
  Value Elementwise(const Value& x, Activation activation, float scale = 1, float shift = 0,
                    const Value& residual = {}, DType dtype = DType{0});
  Value Add(const Value& a, const Value& b) { return Elementwise(a, Activation::kNone, 1, 0, b); }
  // [n, 1] float32 -> [1, n * dim]
  Value Sinusoid(const Value& x, uint32_t dim, bool flip_sin_to_cos, float freq_shift,
                 const WeightRef& fourier = {});
  // x [1, 1] int32 -> row x of the table [entries, channels].
  Value Lookup(const Value& x, const WeightRef& table, uint32_t entries, uint32_t channels);
  // The rows of a request's group attend to one another: see UNETD_OP_GATHER_ROWS.
  Value GatherRows(const Value& x, uint32_t batch_size);

  // The plan's result, [channels, h, w] float32 a row.
  void Output(const Value& x);

  // Names the layer that the next operators belong to, for errors, notes and profiles.
  void SetLayer(std::string layer);

  void Fail(Status status);
  const Status& status() const;

  struct Graph;  // the recorded operators (graph.h)
  Graph& graph() { return *graph_; }

 private:
  // False, and the builder failed, if one of `values` is absent.
  bool Usable(std::initializer_list<const Value*> values);
  // `x` itself if it has at most `slices` slices, else a copy of it in one buffer.
  Value Whole(const Value& x, size_t slices);
  Value Resize(const Value& x, uint32_t mode, Size size);
  // Copies `x` to the tokens of `whole` from `first` on.
  void CopyTokens(const Value& x, const Value& whole, uint32_t first);

  std::unique_ptr<Graph> graph_;
};

}  // namespace unetd
