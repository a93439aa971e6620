#include "client/unetctl/denoise.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>

#include "client/unetctl/conditions.h"
#include "client/unetctl/grid.h"
#include "client/unetctl/latent_size.h"
#include "client/unetctl/png_file.h"
#include "client/unetctl/previews.h"
#include "client/unetctl/progress_bar.h"
#include "client/unetctl/report.h"
#include "client/unetctl/run.h"
#include "server/base/text.h"
#include "server/weights/writer.h"

namespace unetd::unetctl {
namespace {

// A name that no other run has: the groups of a run must get the same variant.
std::string FreshId() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return Format("unetctl-{}-{:x}", getpid(),
                std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

// Latents that a file gives, which tell shape and number of the pictures; else nullptr.
const v1::Tensor* GivenLatents(const Loop& loop) {
  for (const char* field : {"latents", "image_latents"}) {
    const auto found = loop.tensors.find(field);
    if (found != loop.tensors.end() && found->second.shape_size() == 4) return &found->second;
  }
  return nullptr;
}

Outcome ChoosePrompts(const DenoiseOptions& options, const Conditions* conditions, Job* job) {
  if (conditions == nullptr) {
    if (!options.prompts.prompts.empty() || options.all) {
      return UsageFailure("--prompt and --all name tensors of a file: give --conditions");
    }
    const v1::Tensor* latents = GivenLatents(job->loop);
    const int64_t rows = options.rows > 0 ? options.rows : latents ? latents->shape(0) : 1;
    for (int64_t row = 0; row < std::max<int64_t>(rows, 1); ++row) {
      job->prompts.push_back(Format("{}", row));
    }
    return std::nullopt;
  }
  const std::string& negative = options.prompts.negative;
  if (job->loop.guided()) {
    if (!conditions->Has(negative)) {
      return UsageFailure(Format("--guidance above 1 needs a negative prompt: {} has no {}",
                                 options.prompts.conditions, Quoted(negative)));
    }
    job->negative = negative;
  }
  job->prompts = options.prompts.prompts;
  if (options.all) {
    for (const std::string& prompt : conditions->prompts()) {
      if (prompt != negative) job->prompts.push_back(prompt);
    }
  }
  if (job->prompts.empty()) return UsageFailure("say which prompts: --prompt NAME,... or --all");
  return std::nullopt;
}

Outcome ChooseShape(const DenoiseOptions& options, const v1::Model& model, Job* job) {
  if (const v1::Tensor* latents = GivenLatents(job->loop); latents && options.size.empty()) {
    job->row_shape.assign(latents->shape().begin() + 1, latents->shape().end());
  } else if (Outcome failure = ChooseSize(options.size, model, &job->row_shape)) {
    return failure;
  }
  if (!options.png.empty() && !IsPicture(job->row_shape)) {
    return UsageFailure(
        Format("--png: samples of model {} have {} channels, a picture has 1 or 3; "
               "--out-latents keeps them for a VAE",
               Quoted(model.name()), job->row_shape[0]));
  }
  return std::nullopt;
}

Status LoadFiles(const DenoiseOptions& options, Job* job) {
  ASSIGN_OR_RETURN(job->loop, LoadLoop(options.loop));
  ASSIGN_OR_RETURN(job->inputs, LoadInputs(options.inputs));
  return LoadNamed(options.inputs.negative, &job->negative_inputs);
}

Outcome PlanJob(const DenoiseOptions& options, const v1::Model& model, const Conditions* conditions,
                Job* job) {
  job->model = model.name();
  job->id = options.id.empty() ? FreshId() : options.id;
  job->max_rows = std::max<int64_t>(options.batch > 0 ? options.batch : model.max_batch(), 1);
  job->seed = options.seed;
  job->start_step = options.start_step;
  job->end_step = options.end_step;
  job->preview_every = options.preview_every;
  if (Outcome failure = LocalFailure(LoadFiles(options, job))) return failure;
  if (Outcome failure = ChoosePrompts(options, conditions, job)) return failure;
  return ChooseShape(options, model, job);
}

// Never empty: an empty name lets the server choose.
std::vector<std::string> ChooseVariants(const DenoiseOptions& options, const v1::Model& model) {
  std::vector<std::string> variants = options.variants;
  if (options.every_variant) {
    for (const v1::Variant& variant : model.variants()) variants.push_back(variant.name());
  }
  if (variants.empty()) variants.emplace_back();
  return variants;
}

// The conditions of each variant that has its own.
Outcome OpenVariantConditions(const DenoiseOptions& options,
                              const std::vector<std::string>& variants,
                              std::map<std::string, Conditions>* own) {
  for (const std::string& entry : options.variant_conditions) {
    const size_t equals = entry.find('=');
    const std::string variant = entry.substr(0, equals);
    if (equals == std::string::npos || variant.empty()) {
      return UsageFailure(Format("--variant-conditions {}: expected VARIANT=FILE", Quoted(entry)));
    }
    if (std::find(variants.begin(), variants.end(), variant) == variants.end()) {
      return UsageFailure(Format("--variant-conditions {}: variant {} is not among those that run",
                                 Quoted(entry), Quoted(variant)));
    }
    auto opened = Conditions::Open(entry.substr(equals + 1));
    if (!opened.ok()) return LocalFailure(opened.status());
    own->insert_or_assign(variant, *std::move(opened));
  }
  return std::nullopt;
}

Outcome RunAll(const Connection& connection, const std::vector<std::string>& variants,
               const Job& job, const Conditions* conditions,
               const std::map<std::string, Conditions>& own, ProgressStyle progress,
               PreviewFolder* previews, std::vector<VariantRun>* runs) {
  for (const std::string& variant : variants) {
    std::optional<ProgressBar> bar;
    RunObserver observer;
    observer.accepted = [&](const std::string& chosen) {
      if (bar) return;  // a later request of the same run
      bar.emplace(Printable(chosen), StepsInAll(job), stderr, progress);
      bar->Start();
    };
    observer.step = [&](int64_t total) {
      if (!bar) return;
      if (total > 0) bar->SetTotal(total * RequestsInAll(job));
      bar->Advance();
    };
    VariantRun run;
    observer.preview = [&](const PreviewRows& rows) { return previews->Write(run.variant, rows); };
    const auto found = own.find(variant);
    const Conditions* given = found == own.end() ? conditions : &found->second;
    Outcome failure = RunVariant(connection, job, given, variant, observer, &run);
    if (failure) {
      if (!variant.empty())
        failure->text = Format("variant {}: {}", Quoted(variant), failure->text);
      return failure;
    }
    runs->push_back(std::move(run));
  }
  return std::nullopt;
}

// One tensor a variant, named by it: [prompts, C, H, W].
Status WriteLatents(const std::string& path, const Job& job, const std::vector<VariantRun>& runs) {
  std::map<std::string, TensorView> tensors;
  Shape shape = job.row_shape;
  shape.insert(shape.begin(), static_cast<int64_t>(job.prompts.size()));
  for (const VariantRun& run : runs) {
    tensors[run.variant] = {DType::kFloat32, shape, run.samples.data(),
                            run.samples.size() * sizeof(float)};
  }
  const std::map<std::string, std::string> metadata = {
      {"model", job.model}, {"prompts", Format("{}", fmt::join(job.prompts, ","))}};
  return WriteSafetensors(path, tensors, metadata);
}

}  // namespace

Outcome Denoise(const Connection& connection, const DenoiseOptions& options) {
  std::optional<Conditions> conditions;
  if (!options.prompts.conditions.empty()) {
    auto opened = Conditions::Open(options.prompts.conditions);
    if (!opened.ok()) return LocalFailure(opened.status());
    conditions = std::move(opened).value();
  }
  const Conditions* given = conditions ? &*conditions : nullptr;
  v1::Model model;
  Job job;
  std::vector<VariantRun> runs;
  if (Outcome failure = FetchModel(connection, options.model, &model)) return failure;
  if (Outcome failure = PlanJob(options, model, given, &job)) return failure;
  const std::vector<std::string> variants = ChooseVariants(options, model);
  std::map<std::string, Conditions> own;
  if (Outcome failure = OpenVariantConditions(options, variants, &own)) return failure;
  PreviewFolder previews(options.previews, job, options.scale);
  if (Outcome failure = RunAll(connection, variants, job, given, own, options.progress.Style(),
                               &previews, &runs)) {
    return failure;
  }
  if (!options.out_latents.empty()) {
    if (Outcome failure = LocalFailure(WriteLatents(options.out_latents, job, runs)))
      return failure;
  }
  if (!options.png.empty()) {
    const auto picture = DrawGrid(job, runs, options.scale);
    if (!picture.ok()) return LocalFailure(picture.status());
    if (Outcome failure = LocalFailure(WritePng(options.png, *picture))) return failure;
  }
  const ReportFiles files = {options.png, options.out_latents, previews.files()};
  std::fputs((options.json ? ReportJson(job, runs, files) : ReportText(job, runs)).c_str(), stdout);
  return std::nullopt;
}

}  // namespace unetd::unetctl
