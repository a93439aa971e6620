#include "client/unetctl/bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "client/unetctl/bench_calls.h"
#include "client/unetctl/bench_report.h"
#include "client/unetctl/help_text.h"
#include "client/unetctl/interrupt.h"
#include "client/unetctl/latent_size.h"
#include "client/unetctl/server_times.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr char kPriority[] = "--priority";  // which an inference has, too
constexpr char kLoopGroup[] = "Loop, for --kind step and denoise";
constexpr char kFooter[] =
    "Inputs that are not given are made up from what the model says of itself: noise, timestep\n"
    "500, labels 0, masks 1. Throughput counts rows (infer) or rows times UNet steps (step,\n"
    "denoise), from the first request to the last answer. Percentiles are exact, of the requests\n"
    "that succeeded, by this machine's clock.\n"
    "The clients are a closed loop: each waits for its answer before it sends again. When the\n"
    "server stalls, so do the clients, and the requests that would have come meanwhile are not\n"
    "counted as slow (coordinated omission): the percentiles tell what these clients met, not\n"
    "what an open stream of arrivals would have met.\n"
    "Rows a forward: how many rows the server put into one pass of the UNet, by its statistics,\n"
    "whoever sent them.\n"
    "Ctrl-C stops, cancels what is under way and reports what was measured (exit status 130).\n"
    "JSON: kind, model, variant, rows, steps, size, unit, interrupted, levels[{concurrency,\n"
    "requests, errors, seconds, requests_per_s, throughput, latency_ms{min, mean, p50, p95, p99,\n"
    "max}, rows_per_forward, first_error}].";

std::string Clients(int64_t count) { return Format("{} client{}", count, count == 1 ? "" : "s"); }

LoadResult Warm(const Connection& connection, const BenchOptions& options, const CallMaker& maker,
                int64_t clients) {
  LoadPlan plan;
  plan.clients = clients;
  plan.requests = clients * options.warmup;
  plan.timeout_s = connection.timeout_s;
  return RunLoad(plan, maker, {});
}

BenchLevel Measure(const Connection& connection, const BenchOptions& options,
                   const BenchTarget& target, const CallMaker& maker, int64_t clients) {
  LoadPlan plan;
  plan.clients = clients;
  plan.requests = options.requests;
  plan.duration_s = options.duration_s;
  plan.timeout_s = connection.timeout_s;
  BenchLevel level;
  level.clients = clients;
  const bool counted = options.requests > 0;
  const int64_t total =
      counted ? options.requests : static_cast<int64_t>(std::ceil(options.duration_s));
  ProgressBar bar(Clients(clients), total, stderr, options.progress.Style(),
                  counted ? "requests" : "s");
  bar.Start();
  const ServerTimesProbe probe(connection, target.model);
  level.load = RunLoad(plan, maker, [&](int64_t answered, double seconds) {
    const int64_t done = counted ? answered : static_cast<int64_t>(seconds);
    bar.Set(std::min(done, total),
            Format("{} answered, {:.1f}/s", answered,
                   seconds > 0 ? static_cast<double>(answered) / seconds : 0));
  });
  level.rows_per_forward = probe.Times().rows_per_forward;
  return level;
}

bool AnySucceeded(const BenchRun& run) {
  for (const BenchLevel& level : run.levels) {
    if (!level.load.ms.empty()) return true;
  }
  return false;
}

Outcome Sweep(const Connection& connection, const BenchOptions& options, const BenchTarget& target,
              const CallMaker& maker, BenchRun* run) {
  for (const int64_t clients : options.concurrency) {
    if (options.warmup > 0) {
      const LoadResult warm = Warm(connection, options, maker, clients);
      // Nothing but errors will not become better by asking faster.
      if (warm.ms.empty() && warm.errors > 0) return Failure{kExitServer, warm.first_error};
    }
    if (!Interrupted()) {
      run->levels.push_back(Measure(connection, options, target, maker, clients));
    }
    if (Interrupted()) {
      run->interrupted = true;
      break;
    }
  }
  return std::nullopt;
}

}  // namespace

void AddBenchOptions(CLI::App* command, BenchOptions* options) {
  command->add_option("-k,--kind", options->kind, "What is asked for")
      ->capture_default_str()
      ->check(CLI::IsMember({"infer", "step", "denoise"}).description(""))
      ->type_name("infer|step|denoise");
  command->add_option("-m,--model", options->model, "Model; unsaid: the server's only one")
      ->type_name("MODEL");
  command->add_option("-v,--variant", options->variant, "Variant; unsaid: the server chooses")
      ->type_name("VARIANT");
  command
      ->add_option("--concurrency", options->concurrency,
                   "Clients at once, separated by commas: a line of the table each")
      ->capture_default_str()
      ->delimiter(',')
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N,N,...");
  auto* duration = command->add_option("--duration", options->duration_s,
                                       "Seconds in which requests start, for each concurrency");
  duration->capture_default_str()->check(CLI::Range(0.001, 1e6).description(""))->type_name("S");
  command
      ->add_option("--requests", options->requests,
                   "So many requests for each concurrency, however long they take")
      ->check(CLI::Range(1, 100000000).description(""))
      ->type_name("N")
      ->excludes(duration);
  command
      ->add_option("--warmup", options->warmup,
                   "Requests of each client before its concurrency is measured")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000).description(""))
      ->type_name("N");
  command->add_option("--rows", options->rows, "Rows of a request")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  AddSizeOption(command, &options->size);
  command->add_option("--tokens", options->tokens, "Tokens of made-up texts")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  AddInputOptions(command, &options->inputs, true);
  {
    const OptionGroup group(command, kLoopGroup);
    AddLoopOptions(command, &options->loop);
    AddLoopTensorOptions(command, &options->loop);
  }
  AddProgressFlags(command, &options->progress);
  command->add_flag("--json", options->json, "Print one line of JSON instead of a table");
  command->callback([command, options] {
    for (const CLI::Option* option : command->get_options()) {
      const bool of_loop = option->get_group() == kLoopGroup && option->get_name() != kPriority;
      options->loop_given = options->loop_given || (of_loop && option->count() > 0);
    }
  });
  command->footer(kFooter);
}

Outcome Bench(const Connection& connection, const BenchOptions& options) {
  if (options.kind == "infer" && (options.loop_given || !options.inputs.negative.empty())) {
    return UsageFailure(
        "--kind infer has no loop: scheduler, steps, guidance and their tensors "
        "are for --kind step and denoise");
  }
  v1::Model model;
  if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
  BenchTarget target;
  target.model = model.name();
  if (Outcome failure = ChooseSize(options.size, model, &target.row_shape)) return failure;
  BenchCalls calls;
  if (Outcome failure = MakeBenchCalls(connection, options, target, &calls)) return failure;

  BenchRun run;
  run.kind = options.kind;
  run.model = model.name();
  run.variant = options.variant;
  run.rows = options.rows;
  run.height = target.row_shape[1];
  run.width = target.row_shape[2];
  const InterruptGuard guard;
  if (Outcome failure = Sweep(connection, options, target, calls.maker, &run)) return failure;
  run.steps = *calls.steps;
  std::fputs((options.json ? BenchJson(run) : BenchText(run)).c_str(), stdout);
  if (run.interrupted) return Failure{kExitInterrupted, "interrupted"};
  if (!AnySucceeded(run)) {
    return Failure{kExitServer, "no request succeeded: " + run.levels[0].load.first_error};
  }
  return std::nullopt;
}

}  // namespace unetd::unetctl
