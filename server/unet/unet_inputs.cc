#include "server/unet/unet_inputs.h"

#include <algorithm>

#include "server/base/text.h"
#include "server/unet/mask_checks.h"
#include "server/unet/request_inputs.h"

namespace unetd {
namespace {

// So that no size computed from these overflows: tokens^2 * channels * heads stays far below 2^63.
constexpr int64_t kMaxRows = 1 << 20;
constexpr int64_t kMaxTextTokens = 1 << 16;
constexpr int64_t kMaxBoxes = 1 << 12;
constexpr int64_t kHintFactor = 8;

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
    RETURN_IF_ERROR(CheckHint());
    RETURN_IF_ERROR(CheckBoxes());
    RETURN_IF_ERROR(CheckMasks());
    RETURN_IF_ERROR(CheckResiduals());
    shape_.timestep_cond = inputs_.Find(wire::kTimestepCond) != nullptr;
    return shape_;
  }

 private:
  Status CheckSample() {
    const NamedShape& sample = *inputs_.Find(wire::kSample);
    const int64_t channels = config_.sample_channels();
    const Shape expected = {-1, channels, -1, -1};
    const auto wrong = [&](const std::string& why) { return inputs_.Wrong(sample, expected, why); };
    if (sample.shape.size() != 4 || sample.shape[1] != channels) return wrong("");
    const int64_t rows = sample.shape[0], h = sample.shape[2], w = sample.shape[3];
    if (rows < 1 || h < 1 || w < 1) return wrong("sizes must be at least 1");
    if (rows > kMaxRows) return wrong(Format("at most {} rows are possible", kMaxRows));
    if (h > kMaxPixels / w) return wrong(Format("at most {} pixels are possible", kMaxPixels));
    batch_ = rows;
    shape_.size = {static_cast<uint32_t>(h), static_cast<uint32_t>(w)};
    auto sized = SizeLayout(config_, layout_, shape_.size);
    if (!sized.ok()) {
      return wrong(Format("{}x{} does not fit: {}", h, w, sized.status().message()));
    }
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
    // A text that nothing reads needs no plan of its own.
    if (ReadsText(config_, layout_)) shape_.text_tokens = static_cast<uint32_t>(text->shape[1]);
    return OkStatus();
  }

  Status CheckTimeIds() {
    if (config_.add_embedding != AddEmbedding::kTextTime) return OkStatus();
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

  // It is halved three times, each time rounded up.
  Status CheckHint() {
    const NamedShape* hint = inputs_.Find(wire::kHint);
    if (hint == nullptr) return OkStatus();
    const int64_t h = shape_.size.h, w = shape_.size.w;
    const auto fits = [](int64_t got, int64_t side) {
      return got > kHintFactor * (side - 1) && got <= kHintFactor * side;
    };
    if (!fits(hint->shape[2], h) || !fits(hint->shape[3], w)) {
      return inputs_.Wrong(*hint, {batch_, 3, kHintFactor * h, kHintFactor * w},
                           Format("an eighth of it is laid on the sample of {}x{}", h, w));
    }
    shape_.hint = {static_cast<uint32_t>(hint->shape[2]), static_cast<uint32_t>(hint->shape[3])};
    return OkStatus();
  }

  Status CheckBoxes() {
    const NamedShape* boxes = nullptr;
    for (const InputDecl& decl : declared_) {
      if (!decl.name.starts_with(wire::kGligen)) continue;
      const NamedShape* input = inputs_.Find(decl.name);
      if (decl.name == wire::kBoxes) boxes = input;
      if ((input == nullptr) != (boxes == nullptr)) {
        return InvalidArgument(
            Format("inputs '{}*' for model {}: they come together or not at "
                   "all, and '{}' is missing",
                   wire::kGligen, model_, input == nullptr ? decl.name : wire::kBoxes));
      }
      if (input != nullptr && input->shape[1] != boxes->shape[1]) {
        Shape expected = decl.shape;
        expected[0] = batch_;
        expected[1] = boxes->shape[1];
        return inputs_.Wrong(*input, expected,
                             Format("'{}' has {} boxes", wire::kBoxes, boxes->shape[1]));
      }
    }
    if (boxes == nullptr) return OkStatus();
    if (boxes->shape[1] > kMaxBoxes) {
      return inputs_.Wrong(*boxes, {batch_, -1, boxes->shape[2]},
                           Format("at most {} boxes are possible", kMaxBoxes));
    }
    shape_.boxes = static_cast<uint32_t>(boxes->shape[1]);
    return OkStatus();
  }

  Status CheckMasks() {
    const uint32_t seen = SeenTokens(config_, shape_.text_tokens);
    const std::vector<MaskedLayer> layers =
        MaskedLayers(layout_, sized_, seen, inputs_.Find(wire::kAttentionMask) != nullptr);
    RETURN_IF_ERROR(
        CheckMask(wire::kAttentionMask, MaskInput::kAttention, layers, shape_.attention_mask));
    return CheckMask(wire::kTextMask, MaskInput::kText, layers, shape_.text_mask);
  }

  // All layers that read `name` need it to be of one length: `values`, 0 if it was not sent, or no
  // layer reads it beside the other mask.
  Status CheckMask(const char* name, MaskInput kind, const std::vector<MaskedLayer>& layers,
                   uint32_t& values) {
    const NamedShape* mask = inputs_.Find(name);
    if (mask == nullptr) return OkStatus();
    const MaskedLayer* first = nullptr;
    for (const MaskedLayer& layer : layers) {
      if (layer.reads != kind) continue;
      if (layer.values < 0) {
        return InvalidArgument(
            Format("input '{}' for model {}: none fits '{}', where diffusers pads it to other than "
                   "the number of keys, with a sample of {}x{} and {} tokens of text",
                   name, model_, layer.name, shape_.size.h, shape_.size.w,
                   SeenTokens(config_, shape_.text_tokens)));
      }
      if (first == nullptr) first = &layer;
      if (layer.values != first->values) {
        return InvalidArgument(Format(
            "input '{}' for model {}: with a sample of {}x{} it would have {} values for '{}' but "
            "{} for '{}', so none fits{}",
            name, model_, shape_.size.h, shape_.size.w, first->values, first->name, layer.values,
            layer.name,
            kind == MaskInput::kAttention ? Format(" ('{}' masks the text)", wire::kTextMask)
                                          : ""));
      }
    }
    if (first == nullptr) return OkStatus();
    if (mask->shape[1] != first->values) {
      return inputs_.Wrong(*mask, {batch_, first->values},
                           Format("so many values fit the keys of '{}'", first->name));
    }
    values = static_cast<uint32_t>(first->values);
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
    for (uint32_t i = 0; i < count && i < layout_.down.size(); ++i) {
      const BlockLayout& block = layout_.down[i];
      if (!block.has_cross_attention() || block.kind == BlockKind::kCross) continue;
      return InvalidArgument(
          Format("input '{}{}' for model {}: the block {} takes none, in "
                 "diffusers too; at most {} can be sent",
                 prefix, i, model_, block.path, i));
    }
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
  if (hint.h != 0) key += Format(" hint={}x{}", hint.h, hint.w);
  if (boxes != 0) key += Format(" boxes={}", boxes);
  if (attention_mask != 0) key += Format(" attention_mask={}", attention_mask);
  if (text_mask != 0) key += Format(" encoder_attention_mask={}", text_mask);
  if (controlnet) key += " controlnet";
  if (adapter != 0) key += Format(" {}adapter={}", legacy_adapter ? "legacy_" : "", adapter);
  return key;
}

StatusOr<UNetShape> ResolveInputs(const UNetConfig& config, const UNetLayout& layout,
                                  const std::string& model, const std::vector<NamedShape>& sent) {
  return Resolver(config, layout, model).Run(sent);
}

}  // namespace unetd
