#include "server/serving/model.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <set>
#include <utility>

#include "server/base/log.h"
#include "server/base/text.h"
#include "server/diffusion/denoise_loop.h"
#include "server/diffusion/scheduler.h"
#include "server/plan/request_blocks.h"

namespace unetd {
namespace {

constexpr size_t kNamesShown = 8;

std::string FirstNames(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) {
    text += (i ? ", " : "") + Quoted(names[i]);
  }
  if (names.size() > kNamesShown) text += Format(" and {} more", names.size() - kNamesShown);
  return text;
}

// May a kernel still fail, or be slow, at its first run? One of a device may, and one of a guest in
// the host's domain; the host's own have nothing left to do.
bool NeedsTrial(const Plan& plan) {
  if (plan.domain->domain() != "host") return true;
  for (const auto& section : plan.sections) {
    for (const PlannedOp& op : section) {
      if (!op.prepared.valid() || op.prepared.backend() != plan.domain) return true;
    }
  }
  return false;
}

// Takes the memory of one row; where a trial is due, one of zeros goes through all three sections.
Status Warm(Domain& domain, const std::shared_ptr<const Plan>& plan) {
  RETURN_IF_ERROR(domain.CheckFits(*plan, 1, 1));
  RETURN_IF_ERROR(domain.runner->Admit(*plan, 1));
  if (!NeedsTrial(*plan)) return OkStatus();
  ASSIGN_OR_RETURN(const auto blocks, RequestBlocks::Create(plan, *domain.ledger, 1));
  for (const PlanInput& input : plan->inputs) {
    std::memset(blocks->Input(input, 0), 0, input.bytes);
  }
  blocks->SetTimestep(0, 0, 0);
  const RowBlocks row = blocks->Row(0);
  for (const Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
    RETURN_IF_ERROR(domain.runner->Run(*plan, section, {&row, 1}, nullptr));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::shared_ptr<const ServedModel>> ServedModel::Load(const ModelSettings& settings,
                                                               const BackendRegistry& registry,
                                                               Domain& domain) {
  auto model = std::shared_ptr<ServedModel>(new ServedModel(settings));
  const auto at = [&](const Status& status) {
    // Rules and variants say their own path already.
    const bool placed = status.message().starts_with(settings.json_path);
    return placed ? status : status.WithContext(settings.json_path + ": ");
  };
  try {
    if (Status status = model->Open(registry, domain); !status.ok()) return at(status);
    if (Status status = model->BuildAndWarm(); !status.ok()) return at(status);
    model->FindUnused();
  } catch (const std::bad_alloc&) {
    return at(ResourceExhausted("no memory is left"));
  } catch (const std::exception& error) {
    return at(Internal(error.what()));
  }
  return std::shared_ptr<const ServedModel>(std::move(model));
}

Status ServedModel::Open(const BackendRegistry& registry, Domain& domain) {
  domain_ = &domain;
  ASSIGN_OR_RETURN(unet_, ModelUNet::Load(settings_.path));
  if (const auto& unknown = unet_->config().unknown_keys; !unknown.empty()) {
    UNETD_LOG_WARNING("model '{}': its config.json has keys that are not known: {}", name(),
                      FirstNames(unknown));
  }
  ASSIGN_OR_RETURN(weights_, WeightStore::OpenFolder(settings_.path));
  RETURN_IF_ERROR(OpenScheduler());

  std::shared_ptr<const ConvPolicy> conv;
  std::vector<Assignment::Arm> arms;
  for (const VariantSettings& variant : settings_.variants) {
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->model = name();
    snapshot->variant = variant.name;
    snapshot->unet = unet_;
    snapshot->weights = weights_;
    snapshot->dtype = settings_.dtype;
    snapshot->domain = domain_;
    ASSIGN_OR_RETURN(snapshot->bindings, BindVariant(variant, unet_->layers(), registry,
                                                     domain_->backend, settings_.dtype));
    if (conv == nullptr) conv = MakeConvPolicy(*snapshot);
    snapshot->conv = conv;
    snapshot->SetFingerprint(settings_.path.string());
    variants_.push_back(std::move(snapshot));
    arms.push_back({variant.name, variant.weight});
  }
  assignment_ = std::make_unique<const Assignment>(name(), std::move(arms));
  return OkStatus();
}

Status ServedModel::OpenScheduler() {
  std::error_code error;
  if (!settings_.scheduler.empty()) {
    scheduler_place_ = settings_.scheduler.string();
    ASSIGN_OR_RETURN(scheduler_text_, ReadSchedulerFile(settings_.scheduler));
    if (scheduler_text_.empty()) {
      return InvalidArgument(Format("scheduler {}: the file is empty", Quoted(scheduler_place_)));
    }
  } else {
    // "unet/." has the parent that "unet/" has not.
    const std::filesystem::path folder = (settings_.path / ".").parent_path();
    const auto aside = folder.parent_path() / "scheduler" / "scheduler_config.json";
    const auto inside = folder / "scheduler_config.json";
    scheduler_place_ = aside.string() + " or " + inside.string();
    for (const auto& file : {aside, inside}) {
      if (!scheduler_text_.empty() || !std::filesystem::is_regular_file(file, error)) continue;
      scheduler_place_ = file.string();
      ASSIGN_OR_RETURN(scheduler_text_, ReadSchedulerFile(file));
    }
  }
  if (scheduler_text_.empty()) return OkStatus();

  const auto config = ParseSchedulerConfig(scheduler_text_);
  if (config.ok()) {
    scheduler_class_ = config->class_name;
    if (!config->unknown_keys.empty()) {
      UNETD_LOG_WARNING("model '{}': {} has keys that {} does not take: {}", name(),
                        scheduler_place_, config->class_name, FirstNames(config->unknown_keys));
    }
    return OkStatus();
  }
  if (config.status().code() != Code::kUnimplemented) {
    return config.status().WithContext(scheduler_place_ + ": ");
  }
  // Inference needs none, and a request may name another one.
  ASSIGN_OR_RETURN(scheduler_class_, SchedulerClassOf(scheduler_text_));
  UNETD_LOG_WARNING("model '{}': {}: {}; denoising needs a scheduler_json that names one of these",
                    name(), scheduler_place_, config.status().message());
  return OkStatus();
}

std::vector<Size> ServedModel::DeclaredSizes() const {
  std::vector<Size> sizes;
  for (const auto& [height, width] : settings_.shapes) {
    sizes.push_back({static_cast<uint32_t>(height), static_cast<uint32_t>(width)});
  }
  if (sizes.empty()) sizes.push_back(unet_->DefaultSize());
  return sizes;
}

std::shared_ptr<const ConvPolicy> ServedModel::MakeConvPolicy(const Snapshot& snapshot) const {
  const std::vector<Size> sizes = DeclaredSizes();
  const auto pixels = [](Size size) { return uint64_t{size.h} * size.w; };
  const Size largest = *std::max_element(  // the first of equals
      sizes.begin(), sizes.end(), [&](Size a, Size b) { return pixels(a) < pixels(b); });
  PlanBuilder builder({domain_->backend, weights_.get(), settings_.dtype});
  // What cannot be emitted is an error when the plan of that size is built.
  unet_->Emit(builder, unet_->LikelyShape(largest), snapshot.bindings);
  return std::make_shared<const ConvPolicy>(ConvPolicy::Of(settings_.conv, largest, builder));
}

Status ServedModel::BuildAndWarm() {
  const std::vector<Size> sizes = DeclaredSizes();
  Snapshot::BuildOptions options;
  options.pinned = true;
  options.gang = domain_->runner->gang();
  for (size_t i = 0; i < variants_.size(); ++i) {
    for (const Size size : sizes) {
      const UNetShape shape = unet_->LikelyShape(size);
      auto plan = variants_[i]->FindOrBuildPlan(shape, options);
      Status status = plan.status();
      if (plan.ok()) status = Warm(*domain_, *plan);
      if (!status.ok()) {
        if (status.message().starts_with(settings_.json_path)) return status;
        return status.WithContext(
            Format("variant '{}' at {}: ", variants_[i]->variant, shape.Key()));
      }
      warmed_.push_back({i, shape, *std::move(plan)});
    }
  }
  return OkStatus();
}

void ServedModel::MakeRoom() const {
  const auto wanted = static_cast<uint32_t>(settings_.forward_rows());
  for (const Warmed& warmed : warmed_) {
    const uint32_t room = domain_->MakeRoom(*warmed.plan, wanted, DenoiseRun::kScheduleSteps);
    if (room == wanted) continue;
    UNETD_LOG_INFO(
        "model '{}', variant '{}' at {}: requests share forwards of up to {} rows, not "
        "{}: memory for more is over server.limits.memory_mib",
        name(), variants_[warmed.variant]->variant, warmed.shape.Key(), room, wanted);
  }
}

void ServedModel::FindUnused() {
  std::set<std::string> used;
  for (const Warmed& warmed : warmed_) {
    used.insert(warmed.plan->weights_used.begin(), warmed.plan->weights_used.end());
  }
  for (const std::string& tensor : weights_->Names()) {
    if (used.contains(tensor)) {
      parameters_ += weights_->Find(tensor)->elements();
    } else {
      unused_.push_back(tensor);
    }
  }
  if (unused_.empty()) return;
  UNETD_LOG_WARNING("model '{}': {} tensors of its checkpoint are not used: {}", name(),
                    unused_.size(), FirstNames(unused_));
}

StatusOr<std::shared_ptr<const Snapshot>> ServedModel::Choose(std::string_view pinned,
                                                              std::string_view id) const {
  ASSIGN_OR_RETURN(const size_t index, assignment_->Choose(pinned, id));
  return variants_[index];
}

}  // namespace unetd
