#include "server/attention/processor_text.h"

#include <utility>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr std::pair<Quirk, std::string_view> kQuirkTexts[] = {
    {kScaleOfLayer, "Scores are multiplied by the layer's own scale."},
    {kHonoursUpcast, "upcast_attention and upcast_softmax are honoured: scores in float32."},
    {kHonoursQkNorm, "norm_q and norm_k are applied where a layer has them."},
    {kIgnoresSpatialNorm, "spatial_norm is skipped where a layer has it."},
    {kOnlySequences,
     "Only layers of transformer blocks: an image as input, a group_norm or a residual of the "
     "layer's own is refused."},
    {kMaskOfImage, "A mask must be as long as the image has pixels, as diffusers prepares it."},
    {kMaskNotExpanded, "A mask is refused unless the layer has one query."},
    {kMaskOneRow, "A mask is refused for requests of more than one row."},
    {kMaskIsBool, "Of a mask only zero (kept) and not zero (dropped) count."},
    {kAnyRows, "Requests with fewer rows than batch_size are one frame each."},
    {kTrainsQOut, "train_q_out is true where neither the rule nor the file says it."},
};

std::string_view ExampleLayers(const ProcessorRow& row) {
  switch (row.projection) {
    case Projection::kCrossFrame:
      return "*.attn1";
    case Projection::kCustomDiffusion:
      return "*.attn2";
    default:
      return "*";
  }
}

// An option that a first rule would say; "" if not.
std::string_view ExampleValue(Option option) {
  switch (option) {
    case Option::kSliceSize:
      return "1";
    case Option::kBatchSize:
      return "2";
    case Option::kAttentionOp:
      return "null";
    case Option::kCompute:
      return "\"float16\"";
    default:
      return "";
  }
}

}  // namespace

std::vector<std::string_view> QuirkTexts(const ProcessorRow& row) {
  std::vector<std::string_view> texts;
  for (const auto& [quirk, text] : kQuirkTexts) {
    if (row.Has(quirk)) texts.push_back(text);
  }
  if (!row.Has(kScaleOfLayer)) texts.push_back("Scores are multiplied by 1 / sqrt(head_dim).");
  return texts;
}

std::string ExampleRule(const ProcessorRow& row) {
  std::string rule =
      Format("{{\"layers\": \"{}\", \"processor\": \"{}\"", ExampleLayers(row), row.name);
  for (const OptionSpec& option : row.options) {
    const std::string_view value = ExampleValue(option.option);
    if (!value.empty()) rule += Format(", \"{}\": {}", option.name, value);
  }
  if (row.TakesWeights())
    rule += ", \"weights\": \"my/pytorch_custom_diffusion_weights.safetensors\"";
  if (row.algorithm == UNETD_ATTENTION_NPU) rule += ", \"backend\": \"npu\"";
  return rule + "}";
}

std::string OptionTypeText(const OptionSpec& option) {
  std::string text;
  switch (option.type) {
    case OptionType::kPositiveInt:
      text = "integer >= 1";
      break;
    case OptionType::kBool:
      text = "true or false";
      break;
    case OptionType::kFraction:
      text = "number from 0 to 1";
      break;
    case OptionType::kText:
      text = "text";
      break;
    case OptionType::kChoice:
      for (const std::string_view choice : option.choices)
        text += Format("{}'{}'", text.empty() ? "" : " or ", choice);
  }
  return option.nullable ? text + ", or null" : text;
}

}  // namespace unetd
