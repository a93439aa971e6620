#include "client/unetctl/profile.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>

#include "client/unetctl/inspect.h"
#include "client/unetctl/latent_size.h"
#include "client/unetctl/profile_report.h"
#include "server/base/text.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd::unetctl {
namespace {

constexpr char kFooter[] =
    "The server runs forwards over noise of its own: one that warms, then in turn a plain one and\n"
    "one with a clock beside each operator. They wait in its queue as any request, so a busy "
    "server\n"
    "answers later, and what runs beside it on the machine shows in the times. Times are medians.\n"
    "GFLOP/s counts the multiplications and additions of conv2d, linear and attention as they are\n"
    "defined: a Winograd kernel needs fewer, so its rate can be over the machine's peak. MiB and\n"
    "GB/s count operands and weights once each, the least that has to be moved.\n"
    "JSON: Admin.Profile's answer: forward_ms, rows, height, width, repeats, threads, cpu, model,\n"
    "variant, shape, operators[{name, layer, kind, backend, kernel, section, ms, calls, flops,\n"
    "bytes}] in the order of the forward pass.";

// What is being waited for, on a terminal, for as long as this lives.
class WaitingNote {
 public:
  explicit WaitingNote(const std::string& text) : shown_(isatty(STDERR_FILENO) == 1) {
    Print(text);
  }
  ~WaitingNote() { Print(""); }
  WaitingNote(const WaitingNote&) = delete;
  WaitingNote& operator=(const WaitingNote&) = delete;

 private:
  void Print(const std::string& text) const {
    if (!shown_) return;
    std::fprintf(stderr, "\r%s\033[K", text.c_str());
    std::fflush(stderr);
  }
  const bool shown_;
};

}  // namespace

void AddProfileOptions(CLI::App* command, ProfileOptions* options) {
  command->add_option("model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  command->add_option("-v,--variant", options->variant, "Variant; unsaid: the model's first")
      ->type_name("VARIANT");
  command
      ->add_option("--rows", options->rows, "Rows of a forward pass, up to the model's max batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  AddSizeOption(command, &options->size);
  command->add_option("--repeats", options->repeats, "Forward passes of each sort, up to 100")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  command
      ->add_option("--by", options->by,
                   "What a line of the table is; unsaid: a table of kinds, then one of operators")
      ->check(CLI::IsMember({"operator", "kind", "layer"}).description(""))
      ->type_name("operator|kind|layer");
  command->add_option("--top", options->top, "Operators or layers shown, slowest first; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000).description(""))
      ->type_name("N");
  command->add_flag("--json", options->json,
                    "Print the server's answer as JSON instead of a table");
  command->footer(kFooter);
}

Outcome Profile(const Connection& connection, const ProfileOptions& options) {
  v1::Model model;
  if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
  v1::ProfileRequest request;
  request.set_model(model.name());
  request.set_variant(options.variant);
  request.set_rows(options.rows);
  request.set_repeats(options.repeats);
  if (!options.size.empty()) {
    Shape shape;
    if (Outcome failure = ChooseSize(options.size, model, &shape)) return failure;
    request.set_height(static_cast<int32_t>(std::min<int64_t>(shape[1], INT32_MAX)));
    request.set_width(static_cast<int32_t>(std::min<int64_t>(shape[2], INT32_MAX)));
  }
  grpc::ClientContext context;
  connection.Prepare(context);
  v1::ProfileResponse response;
  grpc::Status status;
  {
    const WaitingNote note(Format("profiling {}: {} forward passes", Printable(model.name()),
                                  1 + 2 * options.repeats));
    status = v1::Admin::NewStub(connection.channel)->Profile(&context, request, &response);
  }
  if (!status.ok()) return RpcFailure(status, connection.address);
  if (options.json) return PrintJson(response);
  std::fputs(ProfileText(response, options.by, static_cast<size_t>(options.top)).c_str(), stdout);
  return std::nullopt;
}

}  // namespace unetd::unetctl
