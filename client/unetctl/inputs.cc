#include "client/unetctl/inputs.h"

#include <filesystem>

#include "client/unetctl/conditions.h"
#include "client/unetctl/help_text.h"
#include "client/unetctl/tensor_file.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

CLI::Validator NamedFile() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        const size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0) {
          return Format("{}: expected NAME=FILE", Quoted(text));
        }
        const std::string file = text.substr(equals + 1);
        if (!std::filesystem::is_regular_file(file)) {
          return Format("File does not exist: {}", Quoted(file));
        }
        return "";
      },
      "", "NamedFile");
}

}  // namespace

CLI::Option* TakesFile(CLI::Option* option) {
  return option->check(CLI::ExistingFile.description(""))->type_name("FILE");
}

CLI::Option* TakesNewTensorFile(CLI::Option* option) {
  return option
      ->check([](const std::string& text) -> std::string {
        if (IsTensorFile(text)) return "";
        return Format("{}: expected a name that ends in .safetensors or .npy", Quoted(text));
      })
      ->type_name("FILE");
}

void AddInputOptions(CLI::App* command, InputOptions* options, bool negative) {
  const OptionGroup group(command, "Inputs of the UNet");
  TakesFile(command->add_option("--inputs", options->file,
                                "A .safetensors file of inputs by the UNet's names (sample, "
                                "timestep, encoder_hidden_states, ...)"));
  command
      ->add_option("-i,--input", options->named,
                   "One input: a .npy file, or a .safetensors file that has NAME or "
                   "just one tensor; stands over --inputs; repeatable")
      ->check(NamedFile())
      ->type_name("NAME=FILE");
  if (!negative) return;
  command
      ->add_option("--negative-input", options->negative,
                   "As --input, for the rows without the prompt that guidance adds; an input "
                   "unsaid here is the same for both; repeatable")
      ->check(NamedFile())
      ->type_name("NAME=FILE");
}

CLI::Option* AddPromptOptions(CLI::App* command, PromptOptions* options, bool negative) {
  const OptionGroup group(command, "Inputs of the UNet");
  CLI::Option* conditions = TakesFile(
      command->add_option("-c,--conditions", options->conditions,
                          "A .safetensors file of prompts: tensor NAME is the "
                          "encoder_hidden_states [tokens, channels] of prompt NAME, tensor "
                          "NAME.INPUT another input of the UNet"));
  command
      ->add_option("-p,--prompt", options->prompts,
                   "Prompts of that file, separated by commas: a row each")
      ->delimiter(',')
      ->type_name("NAME")
      ->needs(conditions);
  if (negative) {
    command->add_option("--negative", options->negative, "The prompt that guidance leads away from")
        ->type_name("NAME")
        ->capture_default_str();
  }
  return conditions;
}

Status LoadNamed(const std::vector<std::string>& entries, TensorMap* tensors) {
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos) {
      return InvalidArgument(Format("{}: expected NAME=FILE", Quoted(entry)));
    }
    const std::string name = entry.substr(0, equals);
    ASSIGN_OR_RETURN(v1::Tensor tensor, ReadTensor(entry.substr(equals + 1), {name}));
    tensors->insert_or_assign(name, std::move(tensor));
  }
  return OkStatus();
}

StatusOr<TensorMap> LoadInputs(const InputOptions& options) {
  TensorMap tensors;
  if (!options.file.empty()) {
    ASSIGN_OR_RETURN(std::vector<v1::Tensor> read, ReadTensors(options.file));
    for (v1::Tensor& tensor : read) {
      const std::string name = tensor.name();
      tensors.insert_or_assign(name, std::move(tensor));
    }
  }
  RETURN_IF_ERROR(LoadNamed(options.named, &tensors));
  return tensors;
}

StatusOr<PromptInputs> LoadPrompts(const PromptOptions& options, bool negative) {
  PromptInputs inputs;
  if (options.conditions.empty()) return inputs;
  ASSIGN_OR_RETURN(const Conditions conditions, Conditions::Open(options.conditions));
  const auto fill = [&](const std::vector<std::string>& prompts, TensorMap* map) -> Status {
    ASSIGN_OR_RETURN(std::vector<v1::Tensor> stacked, conditions.Stack(prompts));
    for (v1::Tensor& tensor : stacked) {
      const std::string name = tensor.name();
      map->insert_or_assign(name, std::move(tensor));
    }
    return OkStatus();
  };
  RETURN_IF_ERROR(fill(options.prompts, &inputs.positive));
  if (negative) {
    const std::vector<std::string> same(options.prompts.size(), options.negative);
    RETURN_IF_ERROR(fill(same, &inputs.negative));
  }
  return inputs;
}

}  // namespace unetd::unetctl
