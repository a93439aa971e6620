#include "client/unetctl/denoise.h"
#include "client/unetctl/help_text.h"
#include "client/unetctl/latent_size.h"

namespace unetd::unetctl {
namespace {

constexpr int kMostSteps = 200000;

void AddWhat(CLI::App* command, DenoiseOptions* options) {
  command->add_option("-m,--model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  auto* variant = command->add_option(
      "-v,--variant", options->variants,
      "Variant; repeated: the same pictures once with each; unsaid: the server chooses one");
  variant->type_name("VARIANT");
  command
      ->add_flag("--every-variant", options->every_variant,
                 "The same pictures once with each variant that the model has")
      ->excludes(variant);
  command
      ->add_option("--id", options->id,
                   "Request id: the same id gets the same variant; unsaid: a fresh one")
      ->type_name("ID");

  auto* conditions = AddPromptOptions(command, &options->prompts, true);
  command
      ->add_option("--variant-conditions", options->variant_conditions,
                   "This variant gets the prompts of that name from FILE instead, as one that was "
                   "trained on words of its own needs them; repeatable")
      ->type_name("VARIANT=FILE")
      ->needs(conditions);
  auto* all = command->add_flag("--all", options->all, "Every prompt of the file but the negative")
                  ->needs(conditions);
  command->get_option("--prompt")->excludes(all);
  command->add_option("--rows", options->rows, "Pictures of a model without conditions (default 1)")
      ->excludes(conditions)
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  AddInputOptions(command, &options->inputs, true);
}

void AddLoop(CLI::App* command, DenoiseOptions* options) {
  const OptionGroup group(command, "Loop");
  AddLoopOptions(command, &options->loop);
  command->add_option("--start-step", options->start_step, "First step to run, from 0")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostSteps).description(""))
      ->type_name("N");
  command->add_option("--end-step", options->end_step, "Step to stop before; 0: after the last")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostSteps).description(""))
      ->type_name("N");
  command->add_option("--seed", options->seed, "Picture i draws its noise from seed + i")
      ->capture_default_str()
      ->type_name("N");
  AddSizeOption(command, &options->size);
  command
      ->add_option("--batch", options->batch,
                   "Pictures of one request; unsaid: as many as it takes")
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
}

void AddTensors(CLI::App* command, DenoiseOptions* options) {
  const OptionGroup group(command, "Tensors of the loop");
  AddLoopTensorOption(command, &options->loop, "latents",
                      "Start from these latents [B,C,H,W] as they are, instead of noise");
  AddLoopTensorOptions(command, &options->loop);
}

void AddResults(CLI::App* command, DenoiseOptions* options) {
  const OptionGroup group(command, "Results");
  command
      ->add_option("--out-latents", options->out_latents,
                   "Write the samples to this safetensors file: a tensor a variant")
      ->type_name("FILE");
  command
      ->add_option("--png", options->png,
                   "Write a labelled grid: a row a variant, a column a prompt")
      ->type_name("FILE");
  command->add_option("--scale", options->scale, "Pixels of the grid for one of a sample")
      ->check(CLI::Range(1, 256).description(""))
      ->type_name("N");
  command
      ->add_option("--previews-every", options->preview_every,
                   "Write the pictures on the way after every so many steps; 0: never")
      ->capture_default_str()
      ->check(CLI::Range(0, kMostSteps).description(""))
      ->type_name("N");
  command
      ->add_option("--previews", options->previews,
                   "Folder for them: VARIANT-stepNNNN.png, or .safetensors where samples have "
                   "neither 1 nor 3 channels")
      ->capture_default_str()
      ->type_name("FOLDER");
  AddProgressFlags(command, &options->progress);
  command->add_flag("--json", options->json, "Print one line of JSON instead of a table");
}

}  // namespace

void AddDenoiseOptions(CLI::App* command, DenoiseOptions* options) {
  AddWhat(command, options);
  AddLoop(command, options);
  AddTensors(command, options);
  AddResults(command, options);
  command->footer(
      "Tensors of files have a row for each picture, or one row for all.\n"
      "Example: unetctl denoise -c prompts.safetensors -p 3,7 --guidance 2.5 \\\n"
      "             --scheduler EulerDiscreteScheduler --png out.png\n"
      "JSON: model, prompts, steps, guidance, seed, sample_shape, variants[{variant, requests,\n"
      "steps, ms_per_step, seconds, plan_bytes, largest_difference}], png, latents, previews.");
}

}  // namespace unetd::unetctl
