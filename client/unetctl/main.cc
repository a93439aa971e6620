// unetctl: talks to a unetd server over gRPC.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/unetctl/bench.h"
#include "client/unetctl/channel.h"
#include "client/unetctl/completion.h"
#include "client/unetctl/denoise.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/health.h"
#include "client/unetctl/help_text.h"
#include "client/unetctl/inspect.h"
#include "client/unetctl/predict.h"
#include "client/unetctl/processors.h"
#include "client/unetctl/profile.h"
#include "client/unetctl/step.h"

namespace unetd::unetctl {
namespace {

// Every command's options, filled by the command line.
struct Options {
  PredictOptions predict;
  StepOptions step;
  DenoiseOptions denoise;
  BenchOptions bench;
  bool models_json = false;
  LayersOptions layers;
  ProcessorsOptions processors;
  ProfileOptions profile;
  HealthOptions health;
  CompletionOptions completion;
};

void AddLayersOptions(CLI::App* command, LayersOptions* options) {
  command->add_option("model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  command->add_option("-v,--variant", options->variant, "Only this variant; unsaid: all")
      ->type_name("VARIANT");
  command->add_flag("--legal", options->legal, "Show the processors that each layer may have");
  command->add_flag("--json", options->json,
                    "Print the server's answer as JSON instead of a table");
}

void AddProcessorsOptions(CLI::App* command, ProcessorsOptions* options) {
  command->add_option("name", options->name, "Only this one, in full")->type_name("PROCESSOR");
  command->add_flag("--markdown", options->markdown, "A section each, as Markdown");
  command->add_flag("--json", options->json, "Print the server's answer as JSON instead");
}

void AddHealthOptions(CLI::App* command, HealthOptions* options) {
  command
      ->add_option("--service", options->service,
                   "A gRPC service's full name; unsaid: the whole server")
      ->type_name("NAME");
  command
      ->add_option("--wait", options->wait_s, "Seconds that it may take, from no server there on")
      ->check(CLI::Range(0.0, 86400.0).description(""))
      ->type_name("S");
}

using Command = std::pair<CLI::App*, std::function<Outcome(const Connection&)>>;

std::vector<Command> AddCommands(CLI::App* app, Options* options) {
  std::vector<Command> commands;
  const auto add = [&](const char* name, const char* help, auto run) {
    return commands.emplace_back(app->add_subcommand(name, help), run).first;
  };
  AddPredictOptions(add("predict", "One forward pass of the UNet",
                        [=](const Connection& to) { return Predict(to, options->predict); }),
                    &options->predict);
  AddStepOptions(add("step", "One step of the denoising loop",
                     [=](const Connection& to) { return Step(to, options->step); }),
                 &options->step);
  AddDenoiseOptions(add("denoise", "Draw pictures, with a progress bar",
                        [=](const Connection& to) { return Denoise(to, options->denoise); }),
                    &options->denoise);
  AddBenchOptions(add("bench", "Measure throughput and latency under many clients",
                      [=](const Connection& to) { return Bench(to, options->bench); }),
                  &options->bench);
  add("models", "List the models that the server has",
      [=](const Connection& to) { return ShowModels(to, options->models_json); })
      ->add_flag("--json", options->models_json,
                 "Print the server's answer as JSON instead of a table");
  AddLayersOptions(add("layers", "Show a model's attention layers and what runs them",
                       [=](const Connection& to) { return ShowLayers(to, options->layers); }),
                   &options->layers);
  AddProcessorsOptions(
      add("processors", "List the attention processors, their options and what they cost",
          [=](const Connection& to) { return ShowProcessors(to, options->processors); }),
      &options->processors);
  AddProfileOptions(add("profile", "Time every operator of a forward pass, on the server",
                        [=](const Connection& to) { return Profile(to, options->profile); }),
                    &options->profile);
  AddHealthOptions(add("health", "Say whether the server serves: exit status 0 or 1",
                       [=](const Connection& to) { return CheckHealth(to, options->health); }),
                   &options->health);
  AddCompletionOptions(
      add("completion", "Print a script by which bash completes commands, flags and names",
          [=](const Connection& to) { return Complete(to, options->completion, *app); }),
      &options->completion);
  return commands;
}

int Run(int argc, char** argv) {
  CLI::App app("unetctl talks to a unetd server over gRPC.", "unetctl");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", std::string("unetctl ") + UNETD_VERSION);
  app.footer(
      "unetctl COMMAND --help tells more. --json prints one JSON value on stdout, for scripts.\n"
      "Exit status: 0 done, 1 a local file or an answer that makes no sense, 2 the command line,\n"
      "3 the server answered with an error, 4 no server there, 130 interrupted.");
  app.require_subcommand(1);
  app.fallthrough();  // --address may stand behind the command, too

  Connection connection;
  app.add_option("-a,--address", connection.address, "HOST:PORT of the server")
      ->capture_default_str()
      ->type_name("HOST:PORT");
  app.add_option("--timeout", connection.timeout_s, "Seconds that a call may take; 0: no limit")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("S");

  Options options;
  const std::vector<Command> commands = AddCommands(&app, &options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  connection.Open();
  for (const auto& [command, run] : commands) {
    if (!command->parsed()) continue;
    const Outcome failure = run(connection);
    if (!failure) return kExitOk;
    std::fprintf(stderr, "unetctl: %s\n", failure->text.c_str());
    return failure->exit_status;
  }
  return kExitUsage;  // not reached: a command is required
}

}  // namespace
}  // namespace unetd::unetctl

int main(int argc, char** argv) {
  try {
    return unetd::unetctl::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "unetctl: %s\n", error.what());
    return unetd::unetctl::kExitLocal;
  }
}
