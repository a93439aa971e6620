#include "server/attention/processor_table.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr OptionSpec kSliceSizeSpec = {
    Option::kSliceSize,
    "slice_size",
    OptionType::kPositiveInt,
    true,
    "",
    "heads computed at a time: fewer take less memory and more time; at most the layer's heads"};
constexpr OptionSpec kBatchSizeSpec = {
    Option::kBatchSize,
    "batch_size",
    OptionType::kPositiveInt,
    false,
    "2",
    "videos in a request: its rows // batch_size are one video's frames; 2 is one video with "
    "guidance"};
constexpr OptionSpec kTrainKvSpec = {Option::kTrainKv,
                                     "train_kv",
                                     OptionType::kBool,
                                     false,
                                     "as the weights file has it",
                                     "to_k and to_v are the trained ones"};
constexpr OptionSpec kTrainQOutSpec = {Option::kTrainQOut,
                                       "train_q_out",
                                       OptionType::kBool,
                                       false,
                                       "as the weights file has it",
                                       "to_q and to_out are the trained ones"};
constexpr OptionSpec kHiddenSizeSpec = {Option::kHiddenSize,
                                        "hidden_size",
                                        OptionType::kPositiveInt,
                                        false,
                                        "the layer's",
                                        "the layer's channels; another number is an error",
                                        true};
constexpr OptionSpec kCrossAttentionDimSpec = {Option::kCrossAttentionDim,
                                               "cross_attention_dim",
                                               OptionType::kPositiveInt,
                                               false,
                                               "the layer's",
                                               "the text's channels; another number is an error",
                                               true};
constexpr OptionSpec kOutBiasSpec = {Option::kOutBias,
                                     "out_bias",
                                     OptionType::kBool,
                                     false,
                                     "as the weights file has it",
                                     "the trained to_out has a bias"};
constexpr OptionSpec kDropoutSpec = {Option::kDropout,
                                     "dropout",
                                     OptionType::kFraction,
                                     false,
                                     "0",
                                     "of training; without effect here"};
constexpr OptionSpec kAttentionOpSpec = {
    Option::kAttentionOp,
    "attention_op",
    OptionType::kText,
    false,
    "null",
    "the kernel by its xFormers name; null lets the backend choose",
    true};

constexpr std::string_view kComputeNames[] = {"float16", "bfloat16"};
constexpr OptionSpec kComputeSpec = {
    Option::kCompute,
    "compute",
    OptionType::kChoice,
    false,
    "the model's dtype; in float32 the layer is sdpa on the model's own backend",
    "what q, k and v are cast to on their way to the npu",
    true,
    kComputeNames};
constexpr std::string_view kMaskNames[] = {"correct", "diffusers"};
constexpr OptionSpec kMaskSpec = {
    Option::kMask,
    "mask",
    OptionType::kChoice,
    false,
    "correct",
    "'diffusers' drops what a mask keeps and keeps what it drops, as diffusers does in float32",
    false,
    kMaskNames};

constexpr OptionSpec kSliced[] = {kSliceSizeSpec};
constexpr OptionSpec kCrossFrame[] = {kBatchSizeSpec};
constexpr OptionSpec kCustom[] = {kTrainKvSpec,           kTrainQOutSpec, kHiddenSizeSpec,
                                  kCrossAttentionDimSpec, kOutBiasSpec,   kDropoutSpec};
constexpr OptionSpec kCustomXFormers[] = {kTrainKvSpec,           kTrainQOutSpec, kHiddenSizeSpec,
                                          kCrossAttentionDimSpec, kOutBiasSpec,   kDropoutSpec,
                                          kAttentionOpSpec};
constexpr OptionSpec kXFormers[] = {kAttentionOpSpec};
constexpr OptionSpec kNpu[] = {kComputeSpec, kMaskSpec};

constexpr ProcessorRow kProcessors[] = {
    {"AttnProcessor",
     Projection::kPlain,
     UNETD_ATTENTION_MATH,
     kScaleOfLayer | kHonoursUpcast,
     {},
     "softmax(Q K^T) V as it is written: the reference to compare with, at the price of memory"},
    {"AttnProcessor2_0",
     Projection::kPlain,
     UNETD_ATTENTION_SDPA,
     kHonoursQkNorm,
     {},
     "diffusers' default: fast and small; pick another only for a reason"},
    {"FusedAttnProcessor2_0",
     Projection::kFused,
     UNETD_ATTENTION_SDPA,
     kHonoursQkNorm,
     {},
     "q, k and v in one multiplication, as after fuse_qkv_projections; the same numbers"},
    {"SlicedAttnProcessor", Projection::kPlain, UNETD_ATTENTION_SLICED,
     kScaleOfLayer | kHonoursUpcast | kIgnoresSpatialNorm, kSliced,
     "AttnProcessor a few heads at a time: its exact numbers with bounded memory"},
    {"AttnAddedKVProcessor",
     Projection::kAddedKv,
     UNETD_ATTENTION_MATH,
     kScaleOfLayer | kHonoursUpcast | kMaskOfImage,
     {},
     "AttnProcessor for layers with added keys and values (DeepFloyd IF, Kandinsky, unCLIP)"},
    {"AttnAddedKVProcessor2_0",
     Projection::kAddedKv,
     UNETD_ATTENTION_SDPA,
     kMaskOfImage,
     {},
     "diffusers' default for layers with added keys and values"},
    {"SlicedAttnAddedKVProcessor", Projection::kAddedKv, UNETD_ATTENTION_SLICED,
     kScaleOfLayer | kHonoursUpcast | kMaskOfImage, kSliced,
     "AttnAddedKVProcessor a few heads at a time"},
    {"XFormersAttnAddedKVProcessor", Projection::kAddedKv, UNETD_ATTENTION_MEMORY_EFFICIENT,
     kScaleOfLayer | kMaskOfImage | kMaskNotExpanded, kXFormers,
     "XFormersAttnProcessor for layers with added keys and values; takes no mask"},
    {"CrossFrameAttnProcessor", Projection::kCrossFrame, UNETD_ATTENTION_MATH,
     kScaleOfLayer | kHonoursUpcast | kOnlySequences | kMaskOfImage, kCrossFrame,
     "Text2Video-Zero: every frame attends to its video's first one; as math"},
    {"CrossFrameAttnProcessor2_0", Projection::kCrossFrame, UNETD_ATTENTION_SDPA,
     kOnlySequences | kAnyRows, kCrossFrame,
     "Text2Video-Zero: every frame attends to its video's first one, so that they fit together"},
    {"CustomDiffusionAttnProcessor", Projection::kCustomDiffusion, UNETD_ATTENTION_MATH,
     kScaleOfLayer | kHonoursUpcast | kOnlySequences | kMaskOfImage | kTrainsQOut, kCustom,
     "Custom Diffusion, trained projections from a file; as math"},
    {"CustomDiffusionAttnProcessor2_0", Projection::kCustomDiffusion, UNETD_ATTENTION_SDPA,
     kOnlySequences | kMaskOfImage | kMaskOneRow | kTrainsQOut, kCustom,
     "Custom Diffusion: trained projections from a file, as a variant beside the base model"},
    {"CustomDiffusionXFormersAttnProcessor", Projection::kCustomDiffusion,
     UNETD_ATTENTION_MEMORY_EFFICIENT, kScaleOfLayer | kOnlySequences | kMaskNotExpanded,
     kCustomXFormers, "Custom Diffusion by xFormers' kernels; takes no mask"},
    {"XFormersAttnProcessor", Projection::kPlain, UNETD_ATTENTION_MEMORY_EFFICIENT, kScaleOfLayer,
     kXFormers, "xFormers' memory efficient attention: a kernel can be chosen by its name"},
    {"AttnProcessorNPU", Projection::kPlain, UNETD_ATTENTION_NPU, kMaskIsBool, kNpu,
     "fused attention of an Ascend NPU, for models in float16 or bfloat16 or with 'compute'"},
};

// Processors that diffusers has for this kind of UNet and that have no row yet.
constexpr std::string_view kNotBuilt[] = {
    "IPAdapterAttnProcessor",          "IPAdapterAttnProcessor2_0",
    "IPAdapterXFormersAttnProcessor",  "PAGCFGIdentitySelfAttnProcessor2_0",
    "PAGIdentitySelfAttnProcessor2_0", "XLAFlashAttnProcessor2_0",
};

constexpr bool NamesAreUnique() {
  for (const ProcessorRow& a : kProcessors) {
    int same = 0;
    for (const ProcessorRow& b : kProcessors) same += a.name == b.name;
    for (std::string_view b : kNotBuilt) same += a.name == b;
    if (same != 1) return false;
  }
  return true;
}
static_assert(NamesAreUnique(), "two rows, or a row and an unbuilt processor, have one name");

constexpr const ProcessorRow* RowOf(std::string_view name) {
  for (const ProcessorRow& row : kProcessors) {
    if (row.name == name) return &row;
  }
  return nullptr;
}
constexpr const ProcessorRow* kDefault = RowOf("AttnProcessor2_0");
constexpr const ProcessorRow* kDefaultAddedKv = RowOf("AttnAddedKVProcessor2_0");
static_assert(kDefault->algorithm == kDefaultAddedKv->algorithm);

std::string BuiltNames() {
  std::string names;
  for (const ProcessorRow& row : kProcessors) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

}  // namespace

const OptionSpec* ProcessorRow::FindOption(std::string_view option) const {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const OptionSpec& spec) { return spec.name == option; });
  return found == options.end() ? nullptr : &*found;
}

std::span<const ProcessorRow> Processors() { return kProcessors; }

const ProcessorRow& DefaultProcessor(bool added_kv) {
  return added_kv ? *kDefaultAddedKv : *kDefault;
}

StatusOr<const ProcessorRow*> FindProcessor(std::string_view name) {
  if (const ProcessorRow* row = RowOf(name); row != nullptr) return row;
  if (std::find(std::begin(kNotBuilt), std::end(kNotBuilt), name) != std::end(kNotBuilt)) {
    return InvalidArgument(
        Format("processor '{}' is a diffusers processor that is not built yet; built: {}", name,
               BuiltNames()));
  }
  std::vector<std::string_view> known(std::begin(kNotBuilt), std::end(kNotBuilt));
  for (const ProcessorRow& row : kProcessors) known.push_back(row.name);
  const std::string closest = Closest(name.substr(0, 2 * kQuotedCharacters), known);
  return InvalidArgument(Format("unknown processor {}{}; built: {}", Quoted(name),
                                closest.empty() ? "" : Format(", did you mean '{}'?", closest),
                                BuiltNames()));
}

std::string_view AlgorithmName(uint32_t algorithm) {
  switch (algorithm) {
    case UNETD_ATTENTION_MATH:
      return "math";
    case UNETD_ATTENTION_SDPA:
      return "sdpa";
    case UNETD_ATTENTION_SLICED:
      return "sliced";
    case UNETD_ATTENTION_MEMORY_EFFICIENT:
      return "memory_efficient";
    case UNETD_ATTENTION_NPU:
      return "npu";
    default:
      return "unknown";
  }
}

std::string_view AlgorithmMemory(uint32_t algorithm) {
  switch (algorithm) {
    case UNETD_ATTENTION_MATH:
      return "scores of heads * Q * K";
    case UNETD_ATTENTION_SLICED:
      return "scores of slice_size * Q * K";
    case UNETD_ATTENTION_SDPA:
    case UNETD_ATTENTION_MEMORY_EFFICIENT:
      return "tiles, no scores: O(Q * head_dim)";
    case UNETD_ATTENTION_NPU:
      return "on the device, no scores; q, k, v and the output are copied where the model lives "
             "elsewhere";
    default:
      return "unknown";
  }
}

std::string_view ProjectionName(Projection projection) {
  switch (projection) {
    case Projection::kFused:
      return "fused";
    case Projection::kAddedKv:
      return "added_kv";
    case Projection::kCrossFrame:
      return "cross_frame";
    case Projection::kCustomDiffusion:
      return "custom_diffusion";
    case Projection::kPlain:
      break;
  }
  return "plain";
}

}  // namespace unetd
