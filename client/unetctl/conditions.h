// Prompts as tensors: a safetensors file that holds what each prompt feeds the UNet.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/base/status.h"
#include "server/weights/safetensors.h"
#include "unetd/v1/tensor.pb.h"

namespace unetd::unetctl {

// In the file a tensor named PROMPT is that prompt's encoder_hidden_states, one named PROMPT.INPUT
// any other input of the UNet. None has a batch dimension: [tokens, channels] for
// encoder_hidden_states.
class Conditions {
 public:
  // NOT_FOUND or INVALID_ARGUMENT, naming the file.
  static StatusOr<Conditions> Open(const std::filesystem::path& path);

  // In the order of people: numbers by value, then names.
  const std::vector<std::string>& prompts() const { return prompts_; }
  bool Has(const std::string& prompt) const { return inputs_.contains(prompt); }

  // The inputs of these prompts, stacked: first dimension prompts.size(). INVALID_ARGUMENT if a
  // prompt is not in the file, or if they do not all have the same inputs, shapes and dtypes.
  StatusOr<std::vector<v1::Tensor>> Stack(std::span<const std::string> prompts) const;

 private:
  using Inputs = std::map<std::string, TensorView>;  // by the UNet's input names

  std::shared_ptr<SafetensorsFile> file_;
  std::map<std::string, Inputs> inputs_;  // by prompt
  std::vector<std::string> prompts_;
};

// True if `a` comes before `b`: digits compare as numbers.
bool NaturalLess(const std::string& a, const std::string& b);

}  // namespace unetd::unetctl
