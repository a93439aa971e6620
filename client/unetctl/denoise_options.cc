#include "client/unetctl/denoise.h"

namespace unetd::unetctl {

void AddDenoiseOptions(CLI::App* command, DenoiseOptions* options) {
  command->add_option("-m,--model", options->model, "Model; unsaid: the server's only one");
  auto* variant = command->add_option(
      "-v,--variant", options->variants,
      "Variant; repeated: the same pictures once with each; unsaid: the server chooses one");
  command
      ->add_flag("--every-variant", options->every_variant,
                 "The same pictures once with each variant that the model has")
      ->excludes(variant);
  command->add_option("--id", options->id,
                      "Request id: the same id gets the same variant; unsaid: a fresh one");

  auto* conditions =
      command->add_option("-c,--conditions", options->conditions,
                          "Safetensors file of the prompts: tensor NAME is the "
                          "encoder_hidden_states [tokens, channels] "
                          "of prompt NAME, tensor NAME.INPUT another input of the UNet");
  command
      ->add_option("--variant-conditions", options->variant_conditions,
                   "VARIANT=FILE: this variant gets the prompts of that name from FILE instead, as "
                   "one that was trained on words of its own needs them; repeatable")
      ->needs(conditions);
  auto* prompt = command
                     ->add_option("-p,--prompt", options->prompts,
                                  "Prompts of that file, separated by commas: a picture each")
                     ->delimiter(',')
                     ->needs(conditions);
  auto* all = command->add_flag("--all", options->all, "Every prompt of the file but the negative")
                  ->needs(conditions);
  prompt->excludes(all);
  command->add_option("--rows", options->rows, "Pictures of a model without conditions (default 1)")
      ->excludes(conditions)
      ->check(CLI::Range(1, 100000));
  command->add_option("--negative", options->negative, "The prompt that guidance leads away from")
      ->capture_default_str();

  command->add_option("--steps", options->steps, "Denoising steps")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_option("--start-step", options->start_step, "First step to run")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  command->add_option("--end-step", options->end_step, "Step to stop before; 0: after the last")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  command->add_option("--guidance", options->guidance, "Guidance scale; 1 or less: none")
      ->capture_default_str();
  command->add_option("--guidance-rescale", options->guidance_rescale, "0 to 1; 0: none")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Picture i starts from the noise of seed + i")
      ->capture_default_str();
  command->add_option("--eta", options->eta, "DDIM's eta: 0 adds no noise")->capture_default_str();
  command->add_flag("--use-clipped-model-output", options->use_clipped_model_output,
                    "DDIM: derive the direction from the clipped prediction");
  command
      ->add_option("--scheduler", options->scheduler,
                   "A scheduler_config.json, laid over the model's own; unsaid: the model's own")
      ->check(CLI::ExistingFile);
  command->add_option("--size", options->size,
                      "HxW of the latents; unsaid: the first size that the model was loaded with");
  command
      ->add_option("--batch", options->batch,
                   "Pictures of one request; unsaid: as many as it takes")
      ->check(CLI::Range(1, 100000));

  command->add_option("--out-latents", options->out_latents,
                      "Write the samples to this safetensors file: a tensor a variant");
  command->add_option("--png", options->png,
                      "Write a labelled grid: a row a variant, a column a prompt");
  command->add_option("--scale", options->scale, "Pixels of the grid for one of a sample")
      ->check(CLI::Range(1, 256));
  command->add_flag("--json", options->json, "Print one line of JSON instead of a table");
}

}  // namespace unetd::unetctl
