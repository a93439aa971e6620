#include "server/serving/denoise_job.h"

#include <utility>

#include "server/base/text.h"
#include "server/serving/request_log.h"

namespace unetd {

DenoiseJob::DenoiseJob(JobContext context, CheckedDenoise checked, DenoiseRequest request,
                       std::shared_ptr<DenoiseListener> listener)
    : RequestJob(std::move(context), checked.shape,
                 DenoiseRun::Rows(checked.batch, checked.options)),
      checked_(std::move(checked)),
      request_(std::move(request)),
      listener_(std::move(listener)) {}

uint64_t DenoiseJob::forwards_left() const {
  return static_cast<uint64_t>(checked_.options.end_step - checked_.options.start_step -
                               result_.steps);
}

Status DenoiseJob::DoBegin(const CancelFlag& cancel) {
  begin_ns_ = 0;
  if (!started_) RETURN_IF_ERROR(Start(cancel));
  const AddTime time(begin_ns_);
  return run_->BeginStep(runner(), &cancel);
}

StatusOr<Job::Progress> DenoiseJob::DoEnd(ForwardRecord& record) {
  const Timings before = result_.steps == 0 ? Timings() : result_.timings;
  RETURN_IF_ERROR(EndStep(record.forward_ns));
  if (run_->done()) {
    const AddTime time(result_.timings.output_ns);
    RETURN_IF_ERROR(FillResult());
  }
  record.input_ns += result_.timings.input_ns - before.input_ns;
  record.compute_ns += result_.timings.compute_ns - before.compute_ns - record.forward_ns;
  record.output_ns += result_.timings.output_ns - before.output_ns;
  return run_->done() ? Progress::kDone : Progress::kMore;
}

Status DenoiseJob::Start(const CancelFlag& cancel) {
  started_ = true;
  DenoiseAccepted accepted;
  accepted.variant = context_.snapshot->variant;
  accepted.plan_bytes = plan_->ArenaBytes(rows_, runner().threads()) +
                        plan_->BlockBytes(rows_, run_->blocks().steps()) + state_bytes_;
  accepted.start_step = checked_.options.start_step;
  accepted.end_step = checked_.options.end_step;
  listener_->OnAccepted(accepted);
  const AddTime time(result_.timings.compute_ns);
  return run_->Start(runner(), &cancel);
}

Status DenoiseJob::EndStep(uint64_t forward_ns) {
  DenoiseProgress progress;
  progress.step = run_->next_step();
  progress.total = checked_.options.end_step - checked_.options.start_step;
  progress.timestep = run_->timestep(progress.step);
  uint64_t ns = begin_ns_ + forward_ns;
  {
    const AddTime time(ns);
    RETURN_IF_ERROR(run_->EndStep());
  }
  ++result_.steps;
  result_.timings.compute_ns += ns;
  const Snapshot& snapshot = *context_.snapshot;
  context_.statistics->AddDenoiseStep(snapshot.model, snapshot.variant, ns);
  progress.ms = static_cast<double>(ns) * 1e-6;
  listener_->OnProgress(progress);
  if (request_.preview_every == 0 || result_.steps % request_.preview_every != 0) return OkStatus();
  return Preview(progress.step);
}

Status DenoiseJob::Preview(int64_t step) {
  const AddTime time(result_.timings.output_ns);
  ASSIGN_OR_RETURN(OutputTensor preview,
                   Output("pred_original_sample", run_->pred_original_sample()));
  listener_->OnPreview(step, std::move(preview));
  return OkStatus();
}

void DenoiseJob::Finish(const Status& status, const JobTimes& times) {
  run_.reset();
  hold_ = LedgerHold();
  const Snapshot& snapshot = *context_.snapshot;
  const RequestLine line{checked_.kind(),
                         request_.id,
                         snapshot.model,
                         snapshot.variant,
                         Format("{}x {}", checked_.batch, shape_.Key()),
                         result_.steps};
  LogRequest(line, status, times);
  const std::shared_ptr<DenoiseListener> listener = std::move(listener_);
  if (!status.ok()) {
    context_.statistics->AddFailure(snapshot.model, snapshot.variant, status.code(),
                                    times.total_ns);
    return listener->OnFinished(status);
  }
  result_.model = snapshot.model;
  result_.variant = snapshot.variant;
  result_.id = request_.id;
  result_.timings.queue_ns = times.queue_ns;
  context_.statistics->AddSuccess(
      {snapshot.model, snapshot.variant, checked_.batch, times.total_ns, result_.timings, true});
  listener->OnFinished(std::move(result_));
}

}  // namespace unetd
