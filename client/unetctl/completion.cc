#include "client/unetctl/completion.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <string_view>
#include <vector>

#include "server/base/text.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd::unetctl {
namespace {

// What is the same whatever the commands are.
constexpr std::string_view kFunctions = R"bash(
_unetctl_ask() {  # the server's names: models, variants or processors; nothing if it does not answer
  local -a line server=() model=()
  local i
  read -ra line <<<"$COMP_LINE"
  for ((i = 1; i < ${#line[@]}; ++i)); do
    case "${line[i]}" in
      -a | --address) server=(--address "${line[i + 1]}") ;;
      --address=*) server=("${line[i]}") ;;
      -m | --model) model=(--model "${line[i + 1]}") ;;
      --model=*) model=("${line[i]}") ;;
      layers | profile) [[ "${line[i + 1]:--}" == -* ]] || model=(--model "${line[i + 1]}") ;;
    esac
  done
  [ "$1" = variants ] || model=()
  "${line[0]}" --timeout 1 "${server[@]}" completion "$1" "${model[@]}" 2>/dev/null </dev/null
}

_unetctl_words() {  # offers those of the lines of $1 that begin with what is typed
  local word
  while IFS= read -r word; do
    [[ -n "$word" && "$word" == "$cur"* ]] && COMPREPLY+=("$(printf '%q' "$word")")
  done <<<"$1"
}

_unetctl_paths() {  # $1: -f files, -d folders
  local path
  compopt -o filenames 2>/dev/null
  while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$1" -- "$cur")
}

_unetctl_value() {  # $1: what the option takes
  case "$1" in
    FILE | 'FILE|'*) _unetctl_paths -f ;;
    *=FILE)
      if [ -n "$after_equals" ]; then
        _unetctl_paths -f
      elif [[ "$1" == VARIANT=* ]]; then
        compopt -o nospace 2>/dev/null
        _unetctl_words "$(_unetctl_ask variants | sed 's/$/=/')"
      fi
      ;;
    FOLDER) _unetctl_paths -d ;;
    MODEL) _unetctl_words "$(_unetctl_ask models)" ;;
    VARIANT) _unetctl_words "$(_unetctl_ask variants)" ;;
    PROCESSOR) _unetctl_words "$(_unetctl_ask processors)" ;;
    [[:lower:]]*'|'*) _unetctl_words "${1//|/$'\n'}" ;;
  esac
}

_unetctl() {
  local cur="${COMP_WORDS[COMP_CWORD]}" command="" takes after_equals="" i last=$((COMP_CWORD - 1))
  COMPREPLY=()
  # bash cuts at '=': --option=value and --option NAME=value are three words and four.
  if [ "$cur" = = ]; then
    cur=""
    after_equals=1
  elif [ "${COMP_WORDS[last]}" = = ]; then
    after_equals=1
    last=$((last - 1))
  fi
  [[ -z "$after_equals" || "${COMP_WORDS[last]}" == -* ]] || last=$((last - 1))
  for ((i = 1; i < COMP_CWORD; ++i)); do
    if [[ " $_unetctl_commands " == *" ${COMP_WORDS[i]} "* ]]; then
      command="${COMP_WORDS[i]}"
      break
    fi
  done
  takes="$(_unetctl_takes "$command" "${COMP_WORDS[last]}")"
  if [ -n "$takes" ]; then
    _unetctl_value "$takes"
  elif [[ "$cur" == -* ]]; then
    _unetctl_words "$(_unetctl_flags "$command")"
  elif [ -z "$command" ]; then
    _unetctl_words "${_unetctl_commands// /$'\n'}"
  else
    _unetctl_value "$(_unetctl_positional "$command")"
  fi
}
complete -F _unetctl unetctl
)bash";

std::vector<std::string> Flags(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_snames()) flags.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) flags.push_back("--" + name);
  return flags;
}

std::vector<const CLI::App*> Commands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

// The options of a command and, as every command takes them, of the whole.
std::vector<const CLI::Option*> OptionsOf(const CLI::App& app, const CLI::App* command) {
  std::vector<const CLI::Option*> options;
  if (command != nullptr) {
    for (const CLI::Option* option : command->get_options()) options.push_back(option);
  }
  std::set<std::string> names;
  for (const CLI::Option* option : options) names.insert(option->get_name());
  for (const CLI::Option* option : app.get_options()) {
    if (!names.contains(option->get_name())) options.push_back(option);
  }
  return options;
}

std::string FlagList(const std::vector<const CLI::Option*>& options) {
  std::string list;
  for (const CLI::Option* option : options) {
    for (const std::string& flag : Flags(*option)) list += (list.empty() ? "" : "\\n") + flag;
  }
  return list;
}

// A case of a shell function: COMMAND:FLAG|COMMAND:FLAG) echo TYPE ;;
void AppendTakes(const std::string& command, const std::vector<const CLI::Option*>& options,
                 std::string& script) {
  for (const CLI::Option* option : options) {
    if (option->get_items_expected_max() == 0 || option->get_positional()) continue;
    std::string pattern;
    for (const std::string& flag : Flags(*option)) {
      pattern += (pattern.empty() ? "" : " | ") + command + ":" + flag;
    }
    script += Format("    {}) echo '{}' ;;\n", pattern, option->get_type_name());
  }
}

}  // namespace

void AddCompletionOptions(CLI::App* command, CompletionOptions* options) {
  command
      ->add_option("what", options->what,
                   "bash: the script; models, variants, processors: names that the server has, "
                   "which the script asks for")
      ->required()
      ->check(CLI::IsMember({"bash", "models", "variants", "processors"}).description(""))
      ->type_name("bash|models|variants|processors");
  command->add_option("-m,--model", options->model, "Whose variants; unsaid: the server's only one")
      ->type_name("MODEL");
  command->footer(
      "For this shell:   source <(unetctl completion bash)\n"
      "For every shell:  unetctl completion bash > /etc/bash_completion.d/unetctl");
}

std::string BashCompletion(const CLI::App& app) {
  std::string names, flags, takes, positionals;
  const auto add = [&](const std::string& name, const CLI::App* command) {
    const auto options = OptionsOf(app, command);
    flags += Format("    '{}') printf -- '{}\\n' ;;\n", name, FlagList(options));
    AppendTakes(name, options, takes);
    for (const CLI::Option* option : options) {
      if (!option->get_positional()) continue;
      positionals += Format("    {}) echo '{}' ;;\n", name, option->get_type_name());
    }
  };
  add("", nullptr);
  for (const CLI::App* command : Commands(app)) {
    names += (names.empty() ? "" : " ") + command->get_name();
    add(command->get_name(), command);
  }
  std::string script = "# bash completion for unetctl: source <(unetctl completion bash)\n";
  script += Format("_unetctl_commands='{}'\n", names);
  const auto function = [&](std::string_view name, std::string_view word,
                            const std::string& cases) {
    script += Format("\n{}() {{\n  case \"{}\" in\n{}  esac\n}}\n", name, word, cases);
  };
  function("_unetctl_flags", "$1", flags);
  function("_unetctl_takes", "$1:$2", takes);
  function("_unetctl_positional", "$1", positionals);
  return script + std::string(kFunctions);
}

Outcome Complete(const Connection& connection, const CompletionOptions& options,
                 const CLI::App& app) {
  std::vector<std::string> names;
  if (options.what == "bash") {
    std::fputs(BashCompletion(app).c_str(), stdout);
  } else if (options.what == "models") {
    std::vector<v1::Model> models;
    if (Outcome failure = FetchModels(connection, &models)) return failure;
    for (const v1::Model& model : models) names.push_back(model.name());
  } else if (options.what == "variants") {
    v1::Model model;
    if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
    for (const v1::Variant& variant : model.variants()) names.push_back(variant.name());
  } else {
    grpc::ClientContext context;
    connection.Prepare(context);
    v1::ListProcessorsResponse response;
    const auto stub = v1::Admin::NewStub(connection.channel);
    const grpc::Status status = stub->ListProcessors(&context, {}, &response);
    if (!status.ok()) return RpcFailure(status, connection.address);
    for (const v1::Processor& processor : response.processors()) {
      names.push_back(processor.name());
    }
  }
  for (const std::string& name : names) std::puts(Printable(name).c_str());
  return std::nullopt;
}

}  // namespace unetd::unetctl
