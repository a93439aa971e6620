// The named tensors that a UNet takes, and the check of what a request sends against them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"
#include "server/unet/unet_config.h"
#include "server/unet/unet_layout.h"

namespace unetd {

namespace wire {
inline constexpr char kSample[] = "sample";
inline constexpr char kTimestep[] = "timestep";
inline constexpr char kText[] = "encoder_hidden_states";
inline constexpr char kClassLabels[] = "class_labels";
inline constexpr char kTimestepCond[] = "timestep_cond";
inline constexpr char kTextEmbeds[] = "text_embeds";
inline constexpr char kTimeIds[] = "time_ids";
inline constexpr char kImageEmbeds[] = "image_embeds";
inline constexpr char kHint[] = "hint";
inline constexpr char kAttentionMask[] = "attention_mask";
inline constexpr char kTextMask[] = "encoder_attention_mask";
inline constexpr char kMidResidual[] = "mid_block_additional_residual";
// All together or none; the last four instead of kBoxTexts where attention_type is
// gated-text-image.
inline constexpr char kGligen[] = "gligen.";
inline constexpr char kBoxes[] = "gligen.boxes";
inline constexpr char kBoxMasks[] = "gligen.masks";
inline constexpr char kBoxTexts[] = "gligen.positive_embeddings";
inline constexpr char kPhraseMasks[] = "gligen.phrases_masks";
inline constexpr char kBoxImageMasks[] = "gligen.image_masks";
inline constexpr char kPhraseEmbeds[] = "gligen.phrases_embeddings";
inline constexpr char kBoxImageEmbeds[] = "gligen.image_embeddings";
inline constexpr char kOutput[] = "out_sample";
// Followed by the index: one a skip, and one a down block (and one more for the middle).
inline constexpr char kDownResidual[] = "down_block_additional_residuals.";
inline constexpr char kAdapterResidual[] = "down_intrablock_additional_residuals.";
}  // namespace wire

inline constexpr int64_t kMaxPixels = 1 << 22;  // of a sample

struct InputDecl {
  std::string name;
  Shape shape;                    // with the batch; -1 where free
  DType dtype = DType::kFloat32;  // the one to send if in doubt
  bool any_number = false;  // every numeric dtype is accepted; else float32, float16 and bfloat16
  bool required = false;
  // Of labels that are looked up: legal values are 0 to entries - 1, which the caller checks as it
  // stages them (as int32). 0: any value.
  uint32_t entries = 0;

  bool Accepts(DType dtype_sent) const;
};

// A tensor of a request, without its bytes.
struct NamedShape {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
};

// What a plan is built for, beside the variant: sizes and which optional inputs are there. Never
// the batch.
struct UNetShape {
  Size size;                 // of the sample
  uint32_t text_tokens = 0;  // as sent; 0: none, or nothing reads it
  bool timestep_cond = false;
  uint32_t time_ids = 0;
  Size hint{0, 0};              // {0, 0}: none
  uint32_t boxes = 0;           // of GLIGEN; 0: none
  uint32_t attention_mask = 0;  // values; 0: none, or no layer reads it
  uint32_t text_mask = 0;
  bool controlnet = false;      // residuals of all skips and of the middle
  uint32_t adapter = 0;         // residuals inside the down blocks (T2I-Adapter); 0: none
  bool legacy_adapter = false;  // they come under the name of the down residuals

  bool operator==(const UNetShape&) const = default;
  std::string Key() const;  // "64x64 text=77 time_ids=6"
};

// Everything the model can take, required ones first.
std::vector<InputDecl> DeclareInputs(const UNetConfig& config, const UNetLayout& layout);

// What image_embeds becomes: so many tokens, of text_image_proj and of image_proj.
inline constexpr uint32_t kImageTokensBesideText = 10;
inline constexpr uint32_t kImageTokens = 32;

// Channels of the text as it is sent, where that is decided, else 0.
uint32_t RawTextWidth(const UNetConfig& config, const UNetLayout& layout);
// Channels of image_embeds; 0: the model takes none.
uint32_t ImageWidth(const UNetConfig& config);
// Whether anything reads the text that is sent: layers, or an embedding.
bool ReadsText(const UNetConfig& config, const UNetLayout& layout);
// Tokens that layers see of a text of so many, 0 if there is none.
uint32_t SeenTokens(const UNetConfig& config, uint32_t sent);

// Checks names, dtypes, ranks, dims and the agreement of the batches, and answers what plan the
// request needs. Costs no more than reading `sent`. INVALID_ARGUMENT naming the tensor, what was
// expected and what came; `model` is the model's name for these messages. The batch is sent's
// `sample` dim 0.
StatusOr<UNetShape> ResolveInputs(const UNetConfig& config, const UNetLayout& layout,
                                  const std::string& model, const std::vector<NamedShape>& sent);

}  // namespace unetd
