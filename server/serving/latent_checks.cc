// How many channels the latents of a request have, and what its UNet is shown beside them.
#include "server/base/text.h"
#include "server/serving/loop_checks.h"

namespace unetd {
namespace {

using OptionalTensor = std::optional<TensorView>;

// A UNet that gives twice the channels of its latents also predicts a variance, which a scheduler
// may read; the channels that it takes beyond those of the latents are pictures.
class LatentChecks {
 public:
  LatentChecks(const ServedModel& model, const LoopRequest& request, bool has_latents,
               CheckedDenoise& checked)
      : model_(Quoted(model.name())),
        taken_(model.unet().config().sample_channels()),
        given_(model.unet().config().out_channels),
        request_(request),
        has_latents_(has_latents),
        checked_(checked) {}

  Status Run() {
    RETURN_IF_ERROR(CheckChannels());
    RETURN_IF_ERROR(extra_ == 0 ? CheckPlainInput() : CheckPictureInput());
    return CheckImage();
  }

 private:
  Status CheckChannels() {
    const int64_t half = given_ % 2 == 0 ? given_ / 2 : 0;
    const bool rank = checked_.sample_shape.size() == 4;
    const int64_t sent = rank ? checked_.sample_shape[1] : 0;
    const bool learned = checked_.options.learned_variance;
    // A UNet that takes as many as it gives may take pictures and give a variance (IF's upscaler).
    const bool pictures = request_.concat_latents || request_.masked_image_latents;
    const bool halved = learned || given_ > taken_ || (sent == half && pictures);
    const int64_t channels = halved ? half : given_;
    if (learned && sent != half && given_ <= taken_) {
      return InvalidArgument(
          Format("scheduler: its variance_type reads a variance, and model {} gives none beside "
                 "the latents: it takes {} channels and gives {}",
                 model_, taken_, given_));
    }
    if (channels == 0 || channels > taken_) {
      return InvalidArgument(
          Format("model {} takes {} channels and gives {}: no latents fit, which have all channels "
                 "that it gives, or half of them beside a variance",
                 model_, taken_, given_));
    }
    if (sent != channels) {
      return InvalidArgument(
          Format("unexpected shape for input 'sample' for model {}. Expected {}, got {}{}", model_,
                 ShapeText({-1, channels, -1, -1}), ShapeText(checked_.sample_shape),
                 taken_ > channels ? ": the other channels that the UNet takes are concat_latents, "
                                     "or mask and masked_image_latents"
                                   : ""));
    }
    checked_.options.channels = static_cast<uint32_t>(channels);
    extra_ = taken_ - channels;
    return OkStatus();
  }

  Shape WithChannels(int64_t channels) const {
    Shape shape = checked_.sample_shape;
    shape[1] = channels;
    return shape;
  }

  static Status CheckTensor(const char* field, const OptionalTensor& tensor, const Shape& expected,
                            const char* why = "") {
    if (tensor && tensor->shape == expected && IsFloat(tensor->dtype)) return OkStatus();
    return InvalidArgument(Format(
        "{}: expected floats {}{}, got {}", field, ShapeText(expected), why,
        tensor ? Format("{} {}", WireName(tensor->dtype), ShapeText(tensor->shape)) : "none"));
  }

  Status CheckMask() const {
    const Shape expected = WithChannels(1);
    if (request_.mask->shape == expected) return OkStatus();
    return InvalidArgument(
        Format("mask: expected {}, got {}", ShapeText(expected), ShapeText(request_.mask->shape)));
  }

  static Status Unwanted(const char* field, const OptionalTensor& tensor, std::string_view why) {
    return tensor ? InvalidArgument(Format("{}: expected none, since {}", field, why)) : OkStatus();
  }

  // The UNet is shown the latents alone: a mask says what is put back after each step.
  Status CheckPlainInput() {
    const std::string why =
        Format("model {} takes the sample's {} channels and no more", model_, taken_);
    RETURN_IF_ERROR(Unwanted("masked_image_latents", request_.masked_image_latents, why));
    RETURN_IF_ERROR(Unwanted("concat_latents", request_.concat_latents, why));
    RETURN_IF_ERROR(Unwanted("negative_concat_latents", request_.negative_concat_latents, why));
    if (!request_.mask) return OkStatus();
    RETURN_IF_ERROR(CheckMask());
    checked_.options.keeps_picture = true;
    return CheckTensor("image_latents", request_.image_latents, checked_.sample_shape,
                       ", which the mask keeps");
  }

  Status CheckPictureInput() const {
    if (request_.concat_latents) {
      constexpr char kWhy[] = "concat_latents fill the channels beside the sample";
      RETURN_IF_ERROR(Unwanted("mask", request_.mask, kWhy));
      RETURN_IF_ERROR(Unwanted("masked_image_latents", request_.masked_image_latents, kWhy));
      RETURN_IF_ERROR(CheckTensor("concat_latents", request_.concat_latents, WithChannels(extra_)));
      if (!request_.negative_concat_latents) return OkStatus();
      return CheckTensor("negative_concat_latents", request_.negative_concat_latents,
                         WithChannels(extra_));
    }
    RETURN_IF_ERROR(Unwanted("negative_concat_latents", request_.negative_concat_latents,
                             "there are no concat_latents"));
    if (!request_.mask) {
      return InvalidArgument(Format(
          "concat_latents: expected floats {}{}, since model {} takes {} channels beside "
          "the sample's {}, got none",
          ShapeText(WithChannels(extra_)), extra_ > 1 ? ", or mask and masked_image_latents" : "",
          model_, extra_, checked_.options.channels));
    }
    if (extra_ == 1) {
      return InvalidArgument(
          "mask: the UNet takes one channel beside the sample: send it as concat_latents");
    }
    RETURN_IF_ERROR(CheckMask());
    return CheckTensor("masked_image_latents", request_.masked_image_latents,
                       WithChannels(extra_ - 1), ", which go with the mask");
  }

  Status CheckImage() {
    if (!request_.image_latents) return OkStatus();
    RETURN_IF_ERROR(CheckTensor("image_latents", request_.image_latents, checked_.sample_shape));
    // As diffusers: an inpainting from the first step on starts from noise alone.
    checked_.options.from_image =
        !has_latents_ && (!request_.mask || checked_.options.start_step > 0);
    if (!has_latents_ || checked_.options.keeps_picture) return OkStatus();
    return InvalidArgument(
        "image_latents: expected none, since the loop starts from given latents, and there is no "
        "mask to keep a part of them");
  }

  const std::string model_;
  const int64_t taken_, given_;  // channels of the UNet
  const LoopRequest& request_;
  const bool has_latents_;
  CheckedDenoise& checked_;
  int64_t extra_ = 0;  // channels that the UNet takes beside the latents'
};

}  // namespace

Status CheckLatents(const ServedModel& model, const LoopRequest& request, bool has_latents,
                    CheckedDenoise& checked) {
  return LatentChecks(model, request, has_latents, checked).Run();
}

}  // namespace unetd
