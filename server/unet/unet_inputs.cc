#include "server/unet/unet_inputs.h"

#include <algorithm>

#include "server/base/text.h"
#include "server/unet/request_inputs.h"

namespace unetd {
namespace {

// So that no size computed from these overflows: tokens^2 * channels * heads stays far below 2^63.
constexpr int64_t kMaxRows = 1 << 20;
constexpr int64_t kMaxPixels = 1 << 22;
constexpr int64_t kMaxTextTokens = 1 << 16;

class Resolver {
 public:
  Resolver(const UNetConfig& config, const UNetLayout& layout, const std::string& model)
      : config_(config),
        layout_(layout),
        model_(Quoted(model)),
        declared_(DeclareInputs(config, layout)),
        inputs_(model, declared_) {}

  StatusOr<UNetShape> Run(const std::vector<NamedShape>& sent) {
    RETURN_IF_ERROR(inputs_.CheckNames(sent));
    RETURN_IF_ERROR(CheckSample());
    RETURN_IF_ERROR(inputs_.CheckDims(batch_));
    RETURN_IF_ERROR(CheckText());
    RETURN_IF_ERROR(CheckTimeIds());
    RETURN_IF_ERROR(CheckTextMask());
    RETURN_IF_ERROR(CheckAttentionMask());
    RETURN_IF_ERROR(CheckResiduals());
    shape_.timestep_cond = inputs_.Find(wire::kTimestepCond) != nullptr;
    return shape_;
  }

 private:
  Status CheckSample() {
    const NamedShape& sample = *inputs_.Find(wire::kSample);
    const Shape expected = {-1, config_.in_channels, -1, -1};
    const auto wrong = [&](const std::string& why) { return inputs_.Wrong(sample, expected, why); };
    if (sample.shape.size() != 4 || sample.shape[1] != config_.in_channels) return wrong("");
    const int64_t rows = sample.shape[0], h = sample.shape[2], w = sample.shape[3];
    if (rows < 1 || h < 1 || w < 1) return wrong("sizes must be at least 1");
    if (rows > kMaxRows) return wrong(Format("at most {} rows are possible", kMaxRows));
    if (h > kMaxPixels / w) return wrong(Format("at most {} pixels are possible", kMaxPixels));
    batch_ = rows;
    shape_.size = {static_cast<uint32_t>(h), static_cast<uint32_t>(w)};
    auto sized = SizeLayout(config_, layout_, shape_.size);
    if (!sized) return wrong(Format("too small to be halved {} times", config_.levels.size() - 1));
    sized_ = *std::move(sized);
    return OkStatus();
  }

  Status CheckText() {
    const NamedShape* text = inputs_.Find(wire::kText);
    if (text == nullptr) return OkStatus();
    if (text->shape[1] > kMaxTextTokens) {
      return inputs_.Wrong(*text, {batch_, -1, text->shape[2]},
                           Format("at most {} tokens are possible", kMaxTextTokens));
    }
    // A text that no layer reads needs no plan of its own.
    if (layout_.attention_layers > 0) shape_.text_tokens = static_cast<uint32_t>(text->shape[1]);
    return OkStatus();
  }

  Status CheckTimeIds() {
    if (!config_.text_time) return OkStatus();
    const NamedShape& ids = *inputs_.Find(wire::kTimeIds);
    const int64_t width = config_.addition_time_embed_dim, all = config_.projection_input_dim;
    const int64_t count = ids.shape[1], pooled = inputs_.Find(wire::kTextEmbeds)->shape[1];
    if (count > all / width || pooled > all || count * width + pooled != all) {
      const bool fits = pooled < all && (all - pooled) % width == 0;
      return inputs_.Wrong(
          ids, {batch_, fits ? (all - pooled) / width : -1},
          Format("the {} values of 'text_embeds' and {} for each time_id must come to {}", pooled,
                 width, all));
    }
    shape_.time_ids = static_cast<uint32_t>(count);
    return OkStatus();
  }

  Status CheckTextMask() {
    const NamedShape* mask = inputs_.Find(wire::kTextMask);
    if (mask == nullptr) return OkStatus();
    const uint32_t tokens = shape_.text_tokens;
    if (mask->shape[1] != tokens) {
      return inputs_.Wrong(*mask, {batch_, tokens},
                           Format("'{}' has {} tokens", wire::kText, tokens));
    }
    shape_.text_mask = true;
    return OkStatus();
  }

  // diffusers hands it to every attn1: over the image's tokens, or over the text where attn1 reads
  // the text.
  Status CheckAttentionMask() {
    const NamedShape* mask = inputs_.Find(wire::kAttentionMask);
    if (mask == nullptr) return OkStatus();
    const std::string* first = nullptr;
    int64_t keys = 0;
    for (const BlockLayout* block : layout_.InModuleOrder()) {
      for (const TransformerLayout& transformer : block->transformers) {
        if (transformer.depth == 0) continue;
        const Size size = sized_.levels[block->level];
        const int64_t here = transformer.only_cross ? shape_.text_tokens : int64_t{size.h} * size.w;
        if (first == nullptr) {
          first = &transformer.path;
          keys = here;
        } else if (here != keys) {
          return InvalidArgument(Format(
              "input '{}' for model {}: it masks the keys of every attn1 layer, and with a sample "
              "of {}x{} these are {} in '{}' but {} in '{}', so no attention_mask fits "
              "(encoder_attention_mask masks the text)",
              mask->name, model_, shape_.size.h, shape_.size.w, keys, *first, here,
              transformer.path));
        }
      }
    }
    if (mask->shape[1] != keys) {
      return inputs_.Wrong(*mask, {batch_, keys}, Format("every attn1 layer has {} keys", keys));
    }
    shape_.attention_mask = static_cast<uint32_t>(keys);
    return OkStatus();
  }

  Status CheckResiduals() {
    ASSIGN_OR_RETURN(const uint32_t downs, inputs_.CountIndexed(wire::kDownResidual));
    ASSIGN_OR_RETURN(const uint32_t adapters, inputs_.CountIndexed(wire::kAdapterResidual));
    const bool mid = inputs_.Find(wire::kMidResidual) != nullptr;
    if (mid && downs == 0) {
      return InvalidArgument(Format("input '{}' for model {} needs the {} inputs '{}N' beside it",
                                    wire::kMidResidual, model_, sized_.skips.size(),
                                    wire::kDownResidual));
    }
    if (downs > 0 && !mid && adapters > 0) {
      return InvalidArgument(Format(
          "inputs '{}N' for model {}: without '{}' they would be a T2I-Adapter's, and those are "
          "here already as '{}N'",
          wire::kDownResidual, model_, wire::kMidResidual, wire::kAdapterResidual));
    }
    if (mid) {
      RETURN_IF_ERROR(CheckControlNet(downs));
    } else if (downs > 0) {
      shape_.legacy_adapter = true;
      RETURN_IF_ERROR(CheckAdapter(wire::kDownResidual, downs));
    }
    return adapters > 0 ? CheckAdapter(wire::kAdapterResidual, adapters) : OkStatus();
  }

  Status CheckImage(const std::string& name, const SkipShape& expected, const std::string& why) {
    const NamedShape& input = *inputs_.Find(name);
    const Shape shape = {batch_, expected.channels, expected.size.h, expected.size.w};
    return input.shape == shape ? OkStatus() : inputs_.Wrong(input, shape, why);
  }

  Status CheckControlNet(uint32_t downs) {
    if (downs != sized_.skips.size()) {
      return InvalidArgument(
          Format("model {} expects {} inputs '{}N' (one a skip connection), got {}", model_,
                 sized_.skips.size(), wire::kDownResidual, downs));
    }
    for (uint32_t i = 0; i < downs; ++i) {
      RETURN_IF_ERROR(CheckImage(wire::kDownResidual + std::to_string(i), sized_.skips[i], ""));
    }
    shape_.controlnet = true;
    return CheckImage(wire::kMidResidual, sized_.outputs.back(), "");
  }

  Status CheckAdapter(const char* prefix, uint32_t count) {
    const size_t blocks = layout_.down.size();
    const size_t most = blocks + (layout_.mid ? 1 : 0);
    std::string why = "one a down block";
    if (shape_.legacy_adapter) {
      why = Format("without '{}' they are a T2I-Adapter's, ", wire::kMidResidual) + why;
    }
    if (count > most) {
      return InvalidArgument(Format("model {} expects at most {} inputs '{}N' ({}), got {}", model_,
                                    most, prefix, why, count));
    }
    for (uint32_t i = 0; i < count; ++i) {
      // Cross blocks add it before their downsampler, plain ones to their output; one more follows
      // the middle.
      SkipShape expected = sized_.outputs[std::min<size_t>(i, blocks - 1)];
      if (i < blocks && layout_.down[i].has_cross_attention()) expected.size = sized_.levels[i];
      RETURN_IF_ERROR(CheckImage(prefix + std::to_string(i), expected, why));
    }
    shape_.adapter = count;
    return OkStatus();
  }

  const UNetConfig& config_;
  const UNetLayout& layout_;
  const std::string model_;  // quoted
  const std::vector<InputDecl> declared_;
  RequestInputs inputs_;
  UNetShape shape_;
  SizedLayout sized_;
  int64_t batch_ = 0;
};

}  // namespace

std::string UNetShape::Key() const {
  std::string key = Format("{}x{}", size.h, size.w);
  if (text_tokens != 0) key += Format(" text={}", text_tokens);
  if (timestep_cond) key += " timestep_cond";
  if (time_ids != 0) key += Format(" time_ids={}", time_ids);
  if (attention_mask != 0) key += Format(" attention_mask={}", attention_mask);
  if (text_mask) key += " encoder_attention_mask";
  if (controlnet) key += " controlnet";
  if (adapter != 0) key += Format(" {}adapter={}", legacy_adapter ? "legacy_" : "", adapter);
  return key;
}

StatusOr<UNetShape> ResolveInputs(const UNetConfig& config, const UNetLayout& layout,
                                  const std::string& model, const std::vector<NamedShape>& sent) {
  return Resolver(config, layout, model).Run(sent);
}

}  // namespace unetd
