#include "server/serving/infer_job.h"

#include <utility>
#include <vector>

#include "server/base/text.h"
#include "server/serving/request_log.h"
#include "server/serving/stage_inputs.h"
#include "server/tensor/convert.h"

namespace unetd {

InferJob::InferJob(JobContext context, const CheckedInfer& checked, InferRequest request,
                   InferCallback done)
    : RequestJob(std::move(context), checked.shape, checked.rows),
      checked_(checked),
      request_(std::move(request)),
      done_(std::move(done)) {}

Status InferJob::DoStage() {
  const AddTime time(result_.timings.input_ns);
  RETURN_IF_ERROR(context_.snapshot->domain->CheckFits(*plan_, rows_, 1));
  ASSIGN_OR_RETURN(blocks_, RequestBlocks::Create(plan_, ledger(), rows_));
  RETURN_IF_ERROR(StageInputs(*blocks_, request_.inputs, 0, rows_));
  for (const NamedTensor& tensor : request_.inputs) {
    if (tensor.name != wire::kTimestep) continue;
    ASSIGN_OR_RETURN(const Tensor timesteps, ConvertedTo(tensor.view, DType::kFloat32));
    for (uint32_t row = 0; row < rows_; ++row) {
      blocks_->SetTimestep(row, 0, timesteps.as<float>()[timesteps.elements() == 1 ? 0 : row]);
    }
  }
  for (uint32_t row = 0; row < rows_; ++row) row_blocks_.push_back(blocks_->Row(row));
  request_.inputs.clear();
  request_.keepalive.reset();
  return OkStatus();
}

Status InferJob::DoBegin(const CancelFlag& cancel) {
  const AddTime time(result_.timings.compute_ns);
  for (const Section section : {Section::kCondition, Section::kSchedule}) {
    RETURN_IF_ERROR(runner().Run(*plan_, section, row_blocks_, &cancel));
  }
  return OkStatus();
}

StatusOr<Job::Progress> InferJob::DoEnd(ForwardRecord& record) {
  Timings& timings = result_.timings;
  record.input_ns += timings.input_ns;
  record.compute_ns += timings.compute_ns;
  timings.compute_ns += record.forward_ns;
  RETURN_IF_ERROR(MakeOutput());
  record.output_ns += timings.output_ns;
  return Progress::kDone;
}

Status InferJob::MakeOutput() {
  const AddTime time(result_.timings.output_ns);
  Shape shape = plan_->output_shape;
  shape.insert(shape.begin(), rows_);
  OutputTensor output = EmptyOutput(wire::kOutput, checked_.dtype, std::move(shape));
  TensorView row;
  row.shape = plan_->output_shape;
  ASSIGN_OR_RETURN(row.bytes, CheckedBytes(row.shape, DType::kFloat32));
  const uint64_t stride = output.bytes.size() / rows_;
  for (uint32_t i = 0; i < rows_; ++i) {
    row.data = blocks_->Output(i);
    RETURN_IF_ERROR(Convert(row, checked_.dtype, output.bytes.data() + i * stride));
  }
  result_.outputs.push_back(std::move(output));
  return OkStatus();
}

void InferJob::Finish(const Status& status, const JobTimes& times) {
  blocks_.reset();
  const Snapshot& snapshot = *context_.snapshot;
  const RequestLine line{"infer", request_.id, snapshot.model, snapshot.variant,
                         Format("{}x {}", rows_, shape_.Key())};
  LogRequest(line, status, times);
  if (!status.ok()) {
    context_.statistics->AddFailure(snapshot.model, snapshot.variant, status.code(),
                                    times.total_ns);
    return done_(status);
  }
  result_.model = snapshot.model;
  result_.variant = snapshot.variant;
  result_.id = request_.id;
  result_.timings.queue_ns = times.queue_ns;
  context_.statistics->AddSuccess(
      {snapshot.model, snapshot.variant, rows_, times.total_ns, result_.timings, false});
  done_(std::move(result_));
}

}  // namespace unetd
