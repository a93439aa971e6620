#include "client/unetctl/processors.h"

#include <cstdio>

#include "client/unetctl/inspect.h"
#include "client/unetctl/table.h"
#include "server/base/text.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd::unetctl {
namespace {

std::string OptionNames(const v1::Processor& processor) {
  std::string names;
  for (const v1::ProcessorOption& option : processor.options()) {
    names += (names.empty() ? "" : ", ") + option.name() + (option.required() ? "*" : "");
  }
  if (processor.takes_weights()) names += (names.empty() ? "" : ", ") + std::string("weights*");
  return names.empty() ? "-" : names;
}

void AppendSection(const v1::Processor& processor, std::string& text) {
  text += Format("\n## {}\n\n{}.\n\n", processor.name(), processor.summary());
  text += Format("- algorithm: `{}`; projections: `{}`\n- memory of a row's attention: {}\n",
                 processor.algorithm(), processor.projection(), processor.memory());
  for (const std::string& note : processor.notes()) text += Format("- {}\n", note);
  if (!processor.options().empty() || processor.takes_weights()) {
    text += "\n| option | value | unsaid | meaning |\n|---|---|---|---|\n";
  }
  for (const v1::ProcessorOption& option : processor.options()) {
    text += Format("| `{}` | {} | {} | {} |\n", option.name(), option.type(),
                   option.required() ? "an error" : option.fallback(), option.meaning());
  }
  if (processor.takes_weights()) {
    text +=
        "| `weights` | path of a safetensors file | an error if train_kv or train_q_out holds | "
        "the trained projections, as diffusers' save_attn_procs writes them |\n";
  }
  text += Format("\n```json\n{}\n```\n", processor.example());
}

}  // namespace

std::string ProcessorsText(const v1::ListProcessorsResponse& processors) {
  Table table({{"processor", false},
               {"algorithm", false},
               {"memory a row", false},
               {"options (* required)", false},
               {"when", false}});
  for (const v1::Processor& processor : processors.processors()) {
    table.AddRow({processor.name(), processor.algorithm(), processor.memory(),
                  OptionNames(processor), processor.summary()});
  }
  return table.Text();
}

std::string ProcessorsMarkdown(const v1::ListProcessorsResponse& processors) {
  std::string text;
  for (const v1::Processor& processor : processors.processors()) AppendSection(processor, text);
  return text;
}

Outcome ShowProcessors(const Connection& connection, const ProcessorsOptions& options) {
  grpc::ClientContext context;
  connection.Prepare(context);
  v1::ListProcessorsResponse all, response;
  const auto stub = v1::Admin::NewStub(connection.channel);
  const grpc::Status status = stub->ListProcessors(&context, {}, &all);
  if (!status.ok()) return RpcFailure(status, connection.address);
  for (const v1::Processor& processor : all.processors()) {
    if (options.name.empty() || processor.name() == options.name) {
      *response.add_processors() = processor;
    }
  }
  if (response.processors().empty()) {
    return Failure{kExitUsage, Format("no processor {}; 'unetctl processors' lists those there are",
                                      Quoted(options.name))};
  }
  if (options.json) return PrintJson(response);
  const bool sections = options.markdown || !options.name.empty();
  std::fputs((sections ? ProcessorsMarkdown(response) : ProcessorsText(response)).c_str(), stdout);
  return std::nullopt;
}

}  // namespace unetd::unetctl
