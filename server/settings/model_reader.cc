#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "server/base/text.h"
#include "server/settings/readers.h"

namespace unetd {
namespace {

constexpr int64_t kMaxBatch = 1024;              // rows
constexpr int64_t kMaxDelayMicros = 10'000'000;  // ten seconds
constexpr int64_t kMaxSide =
    8192;  // of a sample: an image of 65,536 pixels a side behind most VAEs
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using ShapeList = std::vector<std::pair<int64_t, int64_t>>;

StatusOr<ShapeList> ReadShapes(const JsonValue& value) {
  ASSIGN_OR_RETURN(const auto items, value.List());
  ShapeList shapes;
  for (const JsonValue& item : items) {
    if (!item.node().is_array() || item.node().size() != 2) {
      return item.Expected("[height, width]");
    }
    ASSIGN_OR_RETURN(const auto sides, item.List());
    std::pair<int64_t, int64_t> shape;
    ASSIGN_OR_RETURN(shape.first, sides[0].Integer(1, kMaxSide));
    ASSIGN_OR_RETURN(shape.second, sides[1].Integer(1, kMaxSide));
    for (const auto& other : shapes) {
      if (other == shape) return item.Error("expected another shape, got one that is there twice");
    }
    shapes.push_back(shape);
  }
  return shapes;
}

StatusOr<BatchingSettings> ReadBatching(const JsonValue& value) {
  static const std::vector<std::string_view> kKeys = {"max_batch", "max_queue_delay_microseconds"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  BatchingSettings batching;
  if (const auto item = object.Find("max_batch")) {
    ASSIGN_OR_RETURN(batching.max_batch, item->Integer(1, kMaxBatch));
  }
  if (const auto item = object.Find("max_queue_delay_microseconds")) {
    ASSIGN_OR_RETURN(batching.max_queue_delay_microseconds, item->Integer(0, kMaxDelayMicros));
  }
  return batching;
}

StatusOr<VariantSettings> ReadVariant(const JsonValue& value, const ReaderContext& context) {
  static const std::vector<std::string_view> kKeys = {"name", "weight", "processors"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  VariantSettings variant;
  variant.json_path = value.path();
  ASSIGN_OR_RETURN(const JsonValue name, object.Require("name"));
  ASSIGN_OR_RETURN(variant.name, ReadName(name));
  if (const auto item = object.Find("weight")) {
    ASSIGN_OR_RETURN(variant.weight, item->Number(0, kInfinity));
  }
  const auto rules = object.Find("processors");
  // An empty list is a variant too: every layer as diffusers has it.
  if (!rules || (rules->node().is_array() && rules->node().empty())) return variant;
  ASSIGN_OR_RETURN(const auto items, rules->List());
  for (const JsonValue& item : items) {
    ASSIGN_OR_RETURN(ProcessorRule rule, ReadRule(item, context));
    variant.processors.push_back(std::move(rule));
  }
  return variant;
}

StatusOr<std::vector<VariantSettings>> ReadVariants(const JsonValue& value,
                                                    const ReaderContext& context) {
  ASSIGN_OR_RETURN(const auto items, value.List());
  std::vector<VariantSettings> variants;
  double sum = 0;
  for (const JsonValue& item : items) {
    ASSIGN_OR_RETURN(VariantSettings variant, ReadVariant(item, context));
    for (const VariantSettings& other : variants) {
      if (other.name != variant.name) continue;
      return JsonValue(item.node(), item.path() + ".name")
          .Error(Format("expected another name than {}'s, got the same, {}", other.json_path,
                        Quoted(variant.name)));
    }
    sum += variant.weight;
    variants.push_back(std::move(variant));
  }
  if (sum > 0 && std::isfinite(sum)) return variants;
  return value.Error(Format("expected weights with a positive, finite sum, got the sum {}", sum));
}

StatusOr<OptionValue> ReadOption(const JsonValue& value) {
  const JsonTree& node = value.node();
  if (node.is_null()) return OptionValue(nullptr);
  if (node.is_boolean()) return OptionValue(node.get<bool>());
  if (node.is_number_unsigned() &&
      node.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return value.Expected("an integer of 64 bits");
  }
  if (node.is_number_integer()) return OptionValue(node.get<int64_t>());
  if (node.is_number_float()) return OptionValue(node.get<double>());
  if (!node.is_string()) return value.Expected("null, a boolean, a number or text");
  const auto& text = node.get_ref<const std::string&>();
  if (text.find('\0') != std::string::npos) return value.Expected("text without NUL");
  return OptionValue(text);
}

}  // namespace

StatusOr<ProcessorRule> ReadRule(const JsonValue& value, const ReaderContext& context) {
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, nullptr));
  ProcessorRule rule;
  rule.json_path = value.path();
  RETURN_IF_ERROR(object.Require("layers").status());
  RETURN_IF_ERROR(object.Require("processor").status());
  for (const auto& [key, item] : object.Items()) {
    if (key == "layers") {
      ASSIGN_OR_RETURN(rule.layers, item.Text());
    } else if (key == "processor") {
      ASSIGN_OR_RETURN(rule.processor, item.Text());
    } else if (key == "backend") {
      ASSIGN_OR_RETURN(rule.backend, ReadBackendName(item, context));
    } else if (key == "fallback") {
      RETURN_IF_ERROR(item.Choice({"sdpa"}).status());
      rule.fallback = "sdpa";
    } else if (key == "weights") {
      ASSIGN_OR_RETURN(rule.weights, ReadPath(item, context));
    } else {
      ASSIGN_OR_RETURN(OptionValue option, ReadOption(item));
      rule.options.emplace_back(key, std::move(option));
    }
  }
  return rule;
}

StatusOr<ModelSettings> ReadModel(const JsonValue& value, const ReaderContext& context) {
  static const std::vector<std::string_view> kKeys = {
      "name", "path",      "scheduler",        "backend", "dtype",
      "conv", "max_batch", "dynamic_batching", "shapes",  "variants"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  ModelSettings model;
  model.json_path = value.path();
  ASSIGN_OR_RETURN(const JsonValue name, object.Require("name"));
  ASSIGN_OR_RETURN(model.name, ReadName(name));
  ASSIGN_OR_RETURN(const JsonValue path, object.Require("path"));
  ASSIGN_OR_RETURN(model.path, ReadPath(path, context));
  if (const auto item = object.Find("scheduler")) {
    ASSIGN_OR_RETURN(model.scheduler, ReadPath(*item, context));
  }
  if (const auto item = object.Find("backend")) {
    ASSIGN_OR_RETURN(model.backend, ReadBackendName(*item, context));
  } else if (!context.backends.empty() && !context.backends.contains(model.backend)) {
    return value.Error(
        Format("expected the key 'backend': unsaid it is {}, which backends does "
               "not list",
               Quoted(model.backend)));
  }
  if (const auto item = object.Find("dtype")) {
    ASSIGN_OR_RETURN(const size_t choice, item->Choice({"float32", "float16", "bfloat16"}));
    constexpr std::array kTypes = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};
    model.dtype = kTypes[choice];
  }
  if (const auto item = object.Find("conv")) {
    ASSIGN_OR_RETURN(const size_t choice, item->Choice({"auto", "direct", "winograd"}));
    model.conv = static_cast<ConvAlgorithm>(choice);
  }
  if (const auto item = object.Find("max_batch")) {
    ASSIGN_OR_RETURN(model.max_batch, item->Integer(1, kMaxBatch));
  }
  if (const auto item = object.Find("dynamic_batching")) {
    ASSIGN_OR_RETURN(model.dynamic_batching, ReadBatching(*item));
  }
  if (const auto item = object.Find("shapes")) {
    ASSIGN_OR_RETURN(model.shapes, ReadShapes(*item));
  }
  if (const auto item = object.Find("variants")) {
    ASSIGN_OR_RETURN(model.variants, ReadVariants(*item, context));
  } else {
    model.variants.emplace_back();
    model.variants.back().json_path = model.json_path;
  }
  return model;
}

}  // namespace unetd
