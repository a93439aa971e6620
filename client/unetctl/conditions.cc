#include "client/unetctl/conditions.h"

#include <algorithm>
#include <cctype>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr char kTextInput[] = "encoder_hidden_states";

bool IsNumber(const std::string& text) {
  return !text.empty() && text.size() <= 18 && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
  });
}

std::string Described(const TensorView& view) {
  return Format("{} {}", WireName(view.dtype), ShapeText(view.shape));
}

}  // namespace

bool NaturalLess(const std::string& a, const std::string& b) {
  const bool a_number = IsNumber(a);
  const bool b_number = IsNumber(b);
  if (a_number != b_number) return a_number;
  if (a_number && std::stoll(a) != std::stoll(b)) return std::stoll(a) < std::stoll(b);
  return a < b;
}

StatusOr<Conditions> Conditions::Open(const std::filesystem::path& path) {
  Conditions conditions;
  ASSIGN_OR_RETURN(conditions.file_, SafetensorsFile::Open(path));
  for (const auto& [name, view] : conditions.file_->tensors()) {
    const size_t dot = name.find('.');
    const std::string prompt = name.substr(0, dot);
    const std::string input = dot == std::string::npos ? kTextInput : name.substr(dot + 1);
    conditions.inputs_[prompt][input] = view;
  }
  for (const auto& [prompt, inputs] : conditions.inputs_) conditions.prompts_.push_back(prompt);
  std::sort(conditions.prompts_.begin(), conditions.prompts_.end(), NaturalLess);
  if (conditions.prompts_.empty()) {
    return InvalidArgument(Format("{}: no tensors, expected one a prompt", path.string()));
  }
  return conditions;
}

StatusOr<std::vector<v1::Tensor>> Conditions::Stack(std::span<const std::string> prompts) const {
  for (const std::string& prompt : prompts) {
    if (Has(prompt)) continue;
    return InvalidArgument(Format("{}: no prompt {}; it has {}", file_->path().string(),
                                  Quoted(prompt), fmt::join(prompts_, ", ")));
  }
  std::vector<v1::Tensor> stacked;
  if (prompts.empty()) return stacked;
  RETURN_IF_ERROR(file_->CheckUnchanged());
  for (const auto& [input, first] : inputs_.at(prompts[0])) {
    v1::Tensor tensor;
    tensor.set_name(input);
    tensor.set_datatype(std::string(WireName(first.dtype)));
    tensor.add_shape(static_cast<int64_t>(prompts.size()));
    for (const int64_t size : first.shape) tensor.add_shape(size);
    for (const std::string& prompt : prompts) {
      const Inputs& inputs = inputs_.at(prompt);
      const auto found = inputs.find(input);
      if (found == inputs.end() || inputs.size() != inputs_.at(prompts[0]).size()) {
        return InvalidArgument(Format("{}: prompts {} and {} have not the same inputs",
                                      file_->path().string(), Quoted(prompts[0]), Quoted(prompt)));
      }
      const TensorView& view = found->second;
      if (view.dtype != first.dtype || view.shape != first.shape) {
        return InvalidArgument(Format(
            "{}: {} of prompt {} is {}, of prompt {} {}: expected the same", file_->path().string(),
            Quoted(input), Quoted(prompts[0]), Described(first), Quoted(prompt), Described(view)));
      }
      tensor.mutable_raw()->append(view.as<char>(), view.bytes);
    }
    stacked.push_back(std::move(tensor));
  }
  return stacked;
}

}  // namespace unetd::unetctl
