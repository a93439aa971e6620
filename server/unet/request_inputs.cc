#include "server/unet/request_inputs.h"

#include <algorithm>
#include <cctype>

#include "server/base/text.h"

namespace unetd {
namespace {

void Append(std::string& list, const std::string& name) {
  list += list.empty() ? "'" : ", '";
  list += name;
  list += '\'';
}

}  // namespace

Status RequestInputs::CheckNames(const std::vector<NamedShape>& sent) {
  for (const NamedShape& input : sent) {
    const auto decl = std::find_if(declared_.begin(), declared_.end(),
                                   [&](const InputDecl& d) { return d.name == input.name; });
    if (decl == declared_.end()) {
      return InvalidArgument(Format("unexpected inference input {} for model {}: it takes {}",
                                    Quoted(input.name), Quoted(model_), DeclaredNames()));
    }
    if (!sent_.emplace(input.name, &input).second) {
      return InvalidArgument(
          Format("input '{}' for model {} is given more than once", input.name, Quoted(model_)));
    }
    if (!decl->Accepts(input.dtype)) {
      return InvalidArgument(Format(
          "inference input '{}' data-type is '{}', but model {} expects 'FP32', 'FP16' or 'BF16'",
          input.name, WireName(input.dtype), Quoted(model_)));
    }
  }
  return CheckNoneMissing();
}

Status RequestInputs::CheckNoneMissing() const {
  std::string missing, got;
  size_t required = 0;
  for (const InputDecl& decl : declared_) {
    required += decl.required;
    if (decl.required && Find(decl.name) == nullptr) Append(missing, decl.name);
  }
  if (missing.empty()) return OkStatus();
  for (const auto& [name, input] : sent_) Append(got, name);
  return InvalidArgument(
      Format("expected {} inputs but got {} inputs for model {}. Got input(s) [{}], but missing "
             "required input(s) [{}]. Please provide all required input(s).",
             required, sent_.size(), Quoted(model_), got, missing));
}

// Indexed names once: there may be hundreds.
std::string RequestInputs::DeclaredNames() const {
  std::string names;
  for (const InputDecl& decl : declared_) {
    const size_t dot = decl.name.rfind('.');
    const bool indexed = dot != std::string::npos && std::isdigit(decl.name.back());
    if (indexed && decl.name.compare(dot, std::string::npos, ".0") != 0) continue;
    names += names.empty() ? "" : ", ";
    names += indexed ? decl.name.substr(0, dot) + ".N" : decl.name;
  }
  return names;
}

Status RequestInputs::CheckDims(int64_t batch) const {
  for (const InputDecl& decl : declared_) {
    const NamedShape* input = Find(decl.name);
    if (input == nullptr) continue;
    bool fits = input->shape.size() == decl.shape.size();
    for (size_t i = 1; fits && i < decl.shape.size(); ++i) {
      fits = decl.shape[i] < 0 ? input->shape[i] >= 1 : input->shape[i] == decl.shape[i];
    }
    if (!fits) return Wrong(*input, decl.shape);
    const bool shared = decl.name == wire::kTimestep && input->shape[0] == 1;
    if (input->shape[0] == batch || shared) continue;
    Shape expected = decl.shape;
    expected[0] = batch;
    return Wrong(*input, expected, Format("'sample' has {} row{}", batch, batch == 1 ? "" : "s"));
  }
  return OkStatus();
}

const NamedShape* RequestInputs::Find(const std::string& name) const {
  const auto found = sent_.find(name);
  return found == sent_.end() ? nullptr : found->second;
}

StatusOr<uint32_t> RequestInputs::CountIndexed(const std::string& prefix) const {
  uint32_t count = 0, all = 0;
  while (Find(prefix + std::to_string(count)) != nullptr) ++count;
  for (const auto& [name, input] : sent_) all += name.starts_with(prefix);
  if (all == count) return count;
  return InvalidArgument(Format("inputs '{}N' for model {}: {} were sent, but '{}{}' is missing",
                                prefix, Quoted(model_), all, prefix, count));
}

Status RequestInputs::Wrong(const NamedShape& input, const Shape& expected,
                            const std::string& why) const {
  return InvalidArgument(Format(
      "unexpected shape for input '{}' for model {}. Expected {}, got {}{}", input.name,
      Quoted(model_), ShapeText(expected), ShapeText(input.shape), why.empty() ? "" : ": " + why));
}

}  // namespace unetd
