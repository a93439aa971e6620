// Denoising behind the facade: whole loops and single steps are the same job.
#include <utility>

#include "server/base/text.h"
#include "server/serving/denoise_job.h"
#include "server/serving/guarded.h"
#include "server/serving/request_checks.h"
#include "server/serving/server_impl.h"

namespace unetd {
namespace {

using Admitted = std::pair<JobContext, CheckedDenoise>;

// A step's one answer is the end of its loop.
class StepListener final : public DenoiseListener {
 public:
  explicit StepListener(StepCallback done) : done_(std::move(done)) {}
  void OnAccepted(const DenoiseAccepted&) override {}
  void OnProgress(const DenoiseProgress&) override {}
  void OnPreview(int64_t, OutputTensor) override {}
  void OnFinished(StatusOr<DenoiseResult> result) override { done_(std::move(result)); }

 private:
  const StepCallback done_;
};

DenoiseRequest AsLoop(StepRequest step) {
  DenoiseRequest loop;
  loop.latents = std::move(step.sample);
  static_cast<LoopRequest&>(loop) = static_cast<LoopRequest&&>(step);
  return loop;
}

Status CheckRowsTogether(const Snapshot& snapshot, const CheckedDenoise& checked) {
  const uint32_t rows = DenoiseRun::Rows(checked.batch, checked.options);
  Status group = CheckGroup(snapshot, checked.shape, rows);
  if (group.ok() || rows == checked.batch) return group;
  return group.WithContext(Format("guidance runs the {} rows twice at once: ", checked.batch));
}

// `variant` is set as soon as it is known.
template <typename Impl, typename Request, typename Check>
StatusOr<Admitted> Admit(Impl& impl, const Request& request, const Check& check,
                         std::string& variant) {
  ASSIGN_OR_RETURN(JobContext context, impl.Assign(request));
  variant = context.snapshot->variant;
  ASSIGN_OR_RETURN(CheckedDenoise checked, check(*context.model, request));
  RETURN_IF_ERROR(CheckRowsTogether(*context.snapshot, checked));
  return Admitted(std::move(context), std::move(checked));
}

template <typename Impl, typename Request, typename Check, typename MakeLoop>
std::shared_ptr<CallHandle> Run(Impl& impl, std::string_view kind, Request request,
                                std::shared_ptr<DenoiseListener> listener, const Check& check,
                                const MakeLoop& make_loop) {
  const TimePoint arrived = Clock::now();
  std::string variant;
  auto job = Guarded<StatusOr<Admitted>>([&] { return Admit(impl, request, check, variant); });
  if (!job.ok()) {
    impl.Refused(kind, request, variant, job.status(), arrived);
    listener->OnFinished(job.status());
    return std::make_shared<EndedCall>();
  }
  const RequestHead head = request;
  return impl.Submit(
      job->first, head,
      std::make_shared<DenoiseJob>(job->first, std::move(job->second),
                                   make_loop(std::move(request)), std::move(listener)));
}

}  // namespace

std::shared_ptr<CallHandle> Server::Denoise(DenoiseRequest request,
                                            std::shared_ptr<DenoiseListener> listener) {
  return Run(*impl_, "denoise", std::move(request), std::move(listener), CheckDenoise,
             [](DenoiseRequest loop) { return loop; });
}

std::shared_ptr<CallHandle> Server::Step(StepRequest request, StepCallback done) {
  return Run(*impl_, "step", std::move(request), std::make_shared<StepListener>(std::move(done)),
             CheckStep, AsLoop);
}

}  // namespace unetd
