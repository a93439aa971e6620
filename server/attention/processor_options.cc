#include "server/attention/processor_options.h"

#include <algorithm>
#include <cmath>

#include "backends/api/unetd_backend.h"
#include "server/base/text.h"

namespace unetd {
namespace {

constexpr size_t kMostText = sizeof(unetd_attention::op) - 1;
constexpr std::string_view kAsDiffusers = "diffusers";

std::string OptionNames(const ProcessorRow& row) {
  std::string names;
  for (const OptionSpec& spec : row.options) {
    if (!names.empty()) names += ", ";
    names += spec.name;
  }
  return names.empty() ? "it takes none" : "it takes: " + names;
}

// An option's value as a message may show it.
std::string Shown(const OptionValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? Quoted(*text) : OptionText(value);
}

std::string Expectation(const OptionSpec& spec) {
  std::string text;
  switch (spec.type) {
    case OptionType::kPositiveInt:
      text = "an integer >= 1";
      break;
    case OptionType::kBool:
      text = "true or false";
      break;
    case OptionType::kFraction:
      text = "a number from 0 to 1";
      break;
    case OptionType::kText:
      text = Format("text of 1 to {} characters", kMostText);
      break;
    case OptionType::kChoice:
      for (const std::string_view choice : spec.choices) {
        text += (text.empty() ? "" : " or ") + Quoted(choice);
      }
      break;
  }
  return spec.nullable ? text + " or null" : text;
}

std::optional<uint32_t> PositiveInt(const OptionValue& value) {
  const auto* integer = std::get_if<int64_t>(&value);
  const auto* number = std::get_if<double>(&value);
  double count = integer != nullptr ? static_cast<double>(*integer) : 0;
  // 8.0 is an integer too, as in JSON Schema.
  if (number != nullptr && *number == std::trunc(*number)) count = *number;
  if (!(count >= 1 && count <= UINT32_MAX)) return std::nullopt;
  return static_cast<uint32_t>(count);
}

std::optional<double> Fraction(const OptionValue& value) {
  const auto* integer = std::get_if<int64_t>(&value);
  const auto* number = std::get_if<double>(&value);
  const double fraction = integer != nullptr  ? static_cast<double>(*integer)
                          : number != nullptr ? *number
                                              : -1;
  if (!(fraction >= 0 && fraction <= 1)) return std::nullopt;
  return fraction;
}

// False if the value is none of the option's.
bool Set(const OptionSpec& spec, const OptionValue& value, ProcessorOptions& options) {
  if (spec.nullable && std::holds_alternative<std::nullptr_t>(value)) return true;
  const std::optional<uint32_t> count = PositiveInt(value);
  const bool* truth = std::get_if<bool>(&value);
  const std::string* text = std::get_if<std::string>(&value);
  if (spec.type == OptionType::kPositiveInt && !count) return false;
  if (spec.type == OptionType::kBool && truth == nullptr) return false;
  if (spec.type == OptionType::kFraction) return Fraction(value).has_value();
  if (spec.type == OptionType::kText &&
      (text == nullptr || text->empty() || text->size() > kMostText)) {
    return false;
  }
  if (spec.type == OptionType::kChoice &&
      (text == nullptr ||
       std::find(spec.choices.begin(), spec.choices.end(), *text) == spec.choices.end())) {
    return false;
  }
  switch (spec.option) {
    case Option::kSliceSize:
      options.slice_size = *count;
      break;
    case Option::kBatchSize:
      options.batch_size = *count;
      break;
    case Option::kTrainKv:
      options.train_kv = *truth;
      break;
    case Option::kTrainQOut:
      options.train_q_out = *truth;
      break;
    case Option::kHiddenSize:
      options.hidden_size = *count;
      break;
    case Option::kCrossAttentionDim:
      options.cross_attention_dim = *count;
      break;
    case Option::kOutBias:
      options.out_bias = *truth;
      break;
    case Option::kDropout:
      break;  // of training
    case Option::kAttentionOp:
      options.attention_op = *text;
      break;
    case Option::kCompute:
      options.compute = *text == "float16" ? DType::kFloat16 : DType::kBFloat16;
      break;
    case Option::kMask:
      options.mask_as_diffusers = *text == kAsDiffusers;
      break;
  }
  return true;
}

// What `option` is set to, or nothing.
std::string ValueText(const ProcessorOptions& options, Option option) {
  const auto truth = [](const std::optional<bool>& value) -> std::string {
    return !value ? "" : *value ? "true" : "false";
  };
  const auto count = [](const std::optional<uint32_t>& value) {
    return value ? std::to_string(*value) : "";
  };
  switch (option) {
    case Option::kSliceSize:
      return std::to_string(options.slice_size);
    case Option::kBatchSize:
      return std::to_string(options.batch_size);
    case Option::kTrainKv:
      return truth(options.train_kv);
    case Option::kTrainQOut:
      return truth(options.train_q_out);
    case Option::kHiddenSize:
      return count(options.hidden_size);
    case Option::kCrossAttentionDim:
      return count(options.cross_attention_dim);
    case Option::kOutBias:
      return truth(options.out_bias);
    case Option::kDropout:
      return "";
    case Option::kAttentionOp:
      return options.attention_op.empty() ? "null" : Quoted(options.attention_op);
    case Option::kCompute:
      return options.compute == DType{0} ? "" : std::string(TorchName(options.compute));
    case Option::kMask:
      return options.mask_as_diffusers ? std::string(kAsDiffusers) : "correct";
  }
  return "";
}

}  // namespace

std::string ProcessorOptions::Text(const ProcessorRow& row) const {
  std::string text;
  for (const OptionSpec& spec : row.options) {
    const std::string value = ValueText(*this, spec.option);
    if (!value.empty()) text += Format("{}{}={}", text.empty() ? "" : ", ", spec.name, value);
  }
  return text;
}

StatusOr<ProcessorOptions> ReadOptions(const ProcessorRule& rule, const ProcessorRow& row) {
  for (const auto& [name, value] : rule.options) {
    if (row.FindOption(name) == nullptr) {
      return InvalidArgument(Format("{}: {} has no option {}; {}", rule.json_path, row.name,
                                    Quoted(name), OptionNames(row)));
    }
  }
  ProcessorOptions options;
  for (const OptionSpec& spec : row.options) {
    const OptionValue* value = rule.FindOption(spec.name);
    const std::string path = Format("{}.{}", rule.json_path, spec.name);
    if (value == nullptr && spec.required) {
      return InvalidArgument(
          Format("{}: {} needs it: expected {}", path, row.name, Expectation(spec)));
    }
    if (value != nullptr && !Set(spec, *value, options)) {
      return InvalidArgument(
          Format("{}: expected {}, got {}", path, Expectation(spec), Shown(*value)));
    }
  }
  return options;
}

}  // namespace unetd
