// Profiles behind the facade: what is checked before one is queued.
#include <utility>

#include "server/base/text.h"
#include "server/serving/guarded.h"
#include "server/serving/profile_job.h"
#include "server/serving/request_checks.h"
#include "server/serving/request_log.h"
#include "server/serving/server_impl.h"

namespace unetd {
namespace {

constexpr int64_t kRows = 1, kRepeats = 5;  // where nothing is said
constexpr int64_t kMaxRepeats = 100;

using Admitted = std::pair<JobContext, CheckedProfile>;

// 0 is `unsaid`. `limit` says what the limit is.
StatusOr<uint32_t> Count(std::string_view field, int64_t value, int64_t unsaid, int64_t most,
                         std::string_view limit = "") {
  if (value == 0) value = unsaid;
  if (value >= 1 && value <= most) return static_cast<uint32_t>(value);
  return InvalidArgument(
      Format("{}: expected 1 to {}{}, or 0 for {}; got {}", field, most, limit, unsaid, value));
}

StatusOr<Size> CheckSize(const ServedModel& model, int64_t height, int64_t width) {
  if (height == 0 && width == 0) return model.DeclaredSizes().front();
  if (height < 1 || width < 1 || height > kMaxPixels / width) {
    return InvalidArgument(
        Format("height and width: expected 1 or more of each and at most {} pixels, or 0 and 0 for "
               "the first size of model {}; got {} and {}",
               kMaxPixels, Quoted(model.name()), height, width));
  }
  const Size size{static_cast<uint32_t>(height), static_cast<uint32_t>(width)};
  const Status fits = SizeLayout(model.unet().config(), model.unet().layout(), size).status();
  if (fits.ok()) return size;
  return fits.WithContext(Format("height and width: {}x{} does not fit model {}: ", height, width,
                                 Quoted(model.name())));
}

StatusOr<CheckedProfile> CheckProfile(const JobContext& context, const ProfileRequest& request) {
  const ServedModel& model = *context.model;
  CheckedProfile checked;
  ASSIGN_OR_RETURN(checked.rows, Count("rows", request.rows, kRows, model.max_batch(),
                                       Format(" (max_batch of model {})", Quoted(model.name()))));
  ASSIGN_OR_RETURN(checked.repeats, Count("repeats", request.repeats, kRepeats, kMaxRepeats));
  ASSIGN_OR_RETURN(const Size size, CheckSize(model, request.height, request.width));
  checked.shape = model.unet().LikelyShape(size);
  RETURN_IF_ERROR(CheckGroup(*context.snapshot, checked.shape, checked.rows));
  return checked;
}

}  // namespace

std::shared_ptr<CallHandle> Server::Profile(ProfileRequest request, ProfileCallback done) {
  const TimePoint arrived = Clock::now();
  std::string variant;
  auto job = Guarded<StatusOr<Admitted>>([&]() -> StatusOr<Admitted> {
    JobContext context;
    ASSIGN_OR_RETURN(context.model, impl_->FindModel(request.model, request.version));
    context.snapshot = context.model->variants().front();
    if (!request.variant.empty()) {
      ASSIGN_OR_RETURN(context.snapshot, context.model->Choose(request.variant, ""));
    }
    context.statistics = &impl_->statistics;
    variant = context.snapshot->variant;
    ASSIGN_OR_RETURN(const CheckedProfile checked, CheckProfile(context, request));
    return Admitted(std::move(context), checked);
  });
  if (!job.ok()) {
    JobTimes times;
    times.total_ns = static_cast<uint64_t>((Clock::now() - arrived).count());
    LogRequest({"profile", request.id, request.model, variant, ""}, job.status(), times);
    done(job.status());
    return std::make_shared<EndedCall>();
  }
  const RequestHead head = request;
  return impl_->Submit(
      job->first, head,
      std::make_shared<ProfileJob>(job->first, job->second, std::move(request), std::move(done)));
}

}  // namespace unetd
