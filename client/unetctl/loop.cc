#include "client/unetctl/loop.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "client/unetctl/help_text.h"
#include "client/unetctl/inputs.h"
#include "client/unetctl/tensor_file.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr int kMostSteps = 100000;

struct TensorField {
  const char* name;
  const char* help;
};
constexpr std::array<TensorField, 7> kTensorFields = {{
    {"image_latents", "Clean latents [B,C,H,W] of a picture: image-to-image, or what a mask keeps"},
    {"mask", "[B,1,H,W]: 1 where to paint, 0 where to keep"},
    {"masked_image_latents",
     "Latents of the picture without the painted part, for inpainting UNets"},
    {"concat_latents",
     "Channels that the UNet is shown beside the sample: the picture to edit, ..."},
    {"negative_concat_latents",
     "The same for the rows without the prompt; unsaid: as for the others"},
    {"start_noise", "[B,C,H,W], standard normal: the noise to start from, instead of seeds"},
    {"noise",
     "The noise that a scheduler adds, [B,C,H,W] for a step, [steps,B,C,H,W] for a loop; "
     "instead of seeds"},
}};

StatusOr<std::string> ReadText(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) return NotFound(Format("cannot read {}", path.string()));
  return text;
}

bool IsClassName(const std::string& text) {
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text[0])) != 0 &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

}  // namespace

void AddPriorityOption(CLI::App* command, uint64_t* priority) {
  command
      ->add_option("--priority", *priority,
                   "1: highest, larger numbers wait longer; 0: the model's default")
      ->capture_default_str()
      ->type_name("N");
}

void AddLoopOptions(CLI::App* command, LoopOptions* options) {
  const OptionGroup group(command, "Loop");
  command->add_option("--steps", options->steps, "Denoising steps of the whole loop")
      ->capture_default_str()
      ->check(CLI::Range(1, kMostSteps).description(""))
      ->type_name("N");
  command
      ->add_option("--scheduler", options->scheduler,
                   "A scheduler config laid over the model's own: a file or folder, JSON in "
                   "braces, or just a class name such as EulerDiscreteScheduler; unsaid: the "
                   "model's own")
      ->type_name("FILE|JSON|CLASS");
  command->add_option("--guidance", options->guidance, "Guidance scale; 1 or less: none")
      ->capture_default_str()
      ->type_name("X");
  command->add_option("--guidance-rescale", options->guidance_rescale, "0 to 1; 0: none")
      ->capture_default_str()
      ->type_name("X");
  command
      ->add_option("--eta", options->eta,
                   "DDIM and TCD: how much noise is added, 0 to 1; unsaid: the scheduler's own")
      ->type_name("X");
  command->add_flag("--use-clipped-model-output", options->use_clipped_model_output,
                    "DDIM: derive the direction from the clipped prediction");
  AddPriorityOption(command, &options->priority);
}

void AddLoopTensorOption(CLI::App* command, LoopOptions* options, const std::string& field,
                         const std::string& help) {
  std::string flag = "--" + field;
  std::replace(flag.begin(), flag.end(), '_', '-');
  TakesFile(command->add_option_function<std::string>(
      flag, [options, field](const std::string& file) { options->files[field] = file; }, help));
}

void AddLoopTensorOptions(CLI::App* command, LoopOptions* options) {
  const OptionGroup group(command, "Tensors of the loop");
  for (const TensorField& field : kTensorFields) {
    AddLoopTensorOption(command, options, field.name, field.help);
  }
}

StatusOr<std::string> SchedulerJson(const std::string& text) {
  const size_t brace = text.find_first_not_of(" \t\n");
  if (brace != std::string::npos && text[brace] == '{') return text;
  std::error_code error;
  if (std::filesystem::is_directory(text, error)) {
    return ReadText(std::filesystem::path(text) / "scheduler_config.json");
  }
  if (!std::filesystem::exists(text, error) && IsClassName(text)) {
    return nlohmann::json{{"_class_name", text}}.dump();
  }
  return ReadText(text);
}

StatusOr<Loop> LoadLoop(const LoopOptions& options) {
  Loop loop;
  loop.steps = options.steps;
  loop.guidance = options.guidance;
  loop.guidance_rescale = options.guidance_rescale;
  loop.eta = options.eta;
  loop.use_clipped_model_output = options.use_clipped_model_output;
  loop.priority = options.priority;
  if (!options.scheduler.empty()) {
    ASSIGN_OR_RETURN(loop.scheduler_json, SchedulerJson(options.scheduler));
  }
  for (const auto& [field, file] : options.files) {
    ASSIGN_OR_RETURN(v1::Tensor tensor, ReadTensor(file, {field}));
    loop.tensors.insert_or_assign(field, std::move(tensor));
  }
  return loop;
}

StatusOr<v1::Tensor> RowsOf(const v1::Tensor& tensor, const RowRange& range) {
  const int dimension = tensor.shape_size() == 5 ? 1 : 0;
  const Shape shape(tensor.shape().begin(), tensor.shape().end());
  ASSIGN_OR_RETURN(const Tensor checked, FromWire(tensor));
  const int64_t rows = dimension < tensor.shape_size() ? tensor.shape(dimension) : -1;
  if (rows == range.total && range.count == range.total) return tensor;
  if (rows != 1 && rows != range.total) {
    return InvalidArgument(Format("{}: {} has {} rows in dimension {}: expected 1 or {}",
                                  Quoted(tensor.name()), ShapeText(shape), rows, dimension,
                                  range.total));
  }
  v1::Tensor part;
  part.set_name(tensor.name());
  part.set_datatype(tensor.datatype());
  *part.mutable_shape() = tensor.shape();
  part.set_shape(dimension, range.count);
  const auto outer = static_cast<size_t>(dimension == 1 ? tensor.shape(0) : 1);
  const size_t row_bytes =
      outer == 0 ? 0 : checked.bytes() / outer / static_cast<size_t>(std::max<int64_t>(rows, 1));
  for (size_t block = 0; block < outer; ++block) {
    for (int64_t row = range.first; row < range.first + range.count; ++row) {
      const auto source = static_cast<size_t>(rows == 1 ? 0 : row);
      part.mutable_raw()->append(
          tensor.raw(), (block * static_cast<size_t>(rows) + source) * row_bytes, row_bytes);
    }
  }
  return part;
}

Status FillTensors(const Loop& loop, const RowRange& range, google::protobuf::Message& request) {
  for (const auto& [name, tensor] : loop.tensors) {
    const google::protobuf::FieldDescriptor* field = request.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      return InvalidArgument(
          Format("{} has no field {}", request.GetDescriptor()->name(), Quoted(name)));
    }
    ASSIGN_OR_RETURN(const v1::Tensor rows, RowsOf(tensor, range));
    request.GetReflection()->MutableMessage(&request, field)->CopyFrom(rows);
  }
  return OkStatus();
}

}  // namespace unetd::unetctl
