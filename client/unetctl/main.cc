// unetctl: talks to a unetd server over gRPC.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "client/unetctl/channel.h"
#include "client/unetctl/denoise.h"
#include "client/unetctl/failure.h"
#include "client/unetctl/inspect.h"
#include "client/unetctl/processors.h"

namespace {

using unetd::unetctl::Connection;
using unetd::unetctl::Outcome;

int Run(int argc, char** argv) {
  CLI::App app("unetctl talks to a unetd server over gRPC.", "unetctl");
  app.set_version_flag("--version", std::string("unetctl ") + UNETD_VERSION);
  app.footer(
      "Exit status: 0 done, 1 a local file or an answer that makes no sense, 2 the command line,\n"
      "3 the server answered with an error, 4 no server there.");
  app.require_subcommand(1);
  app.fallthrough();  // --address may stand behind the command, too

  Connection connection;
  app.add_option("-a,--address", connection.address, "HOST:PORT of the server")
      ->capture_default_str();
  app.add_option("--timeout", connection.timeout_s, "Seconds that a call may take; 0: no limit")
      ->capture_default_str();

  unetd::unetctl::DenoiseOptions denoise;
  CLI::App* denoise_command = app.add_subcommand("denoise", "Draw pictures, with a progress bar");
  AddDenoiseOptions(denoise_command, &denoise);

  bool models_json = false;
  CLI::App* models_command = app.add_subcommand("models", "List the models that the server has");
  models_command->add_flag("--json", models_json, "Print JSON instead of a table");

  unetd::unetctl::LayersOptions layers;
  CLI::App* layers_command =
      app.add_subcommand("layers", "Show a model's attention layers and what runs them");
  layers_command->add_option("model", layers.model, "Model; unsaid: the server's only one");
  layers_command->add_option("-v,--variant", layers.variant, "Only this variant; unsaid: all");
  layers_command->add_flag("--legal", layers.legal, "Show the processors that each layer may have");
  layers_command->add_flag("--json", layers.json, "Print JSON instead of a table");

  unetd::unetctl::ProcessorsOptions processors;
  CLI::App* processors_command = app.add_subcommand(
      "processors", "List the attention processors, their options and what they cost");
  processors_command->add_option("name", processors.name, "Only this one, in full");
  processors_command->add_flag("--markdown", processors.markdown, "A section each, as Markdown");
  processors_command->add_flag("--json", processors.json, "Print JSON instead");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? unetd::unetctl::kExitOk : unetd::unetctl::kExitUsage;
  }
  connection.Open();
  Outcome failure;
  if (denoise_command->parsed()) failure = Denoise(connection, denoise);
  if (models_command->parsed()) failure = ShowModels(connection, models_json);
  if (processors_command->parsed()) failure = ShowProcessors(connection, processors);
  if (layers_command->parsed()) failure = ShowLayers(connection, layers);
  if (!failure) return unetd::unetctl::kExitOk;
  std::fprintf(stderr, "unetctl: %s\n", failure->text.c_str());
  return failure->exit_status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "unetctl: %s\n", error.what());
    return unetd::unetctl::kExitLocal;
  }
}
