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
    : RequestJob(std::move(context), checked.shape),
      checked_(checked),
      request_(std::move(request)),
      done_(std::move(done)) {}

Status InferJob::DoStage() {
  const AddTime time(result_.timings.input_ns);
  const uint32_t rows = checked_.rows;
  RETURN_IF_ERROR(context_.snapshot->domain->CheckFits(*plan_, rows, 1));
  ASSIGN_OR_RETURN(blocks_, RequestBlocks::Create(plan_, ledger(), rows));
  RETURN_IF_ERROR(StageInputs(*blocks_, request_.inputs, 0, rows));
  for (const NamedTensor& tensor : request_.inputs) {
    if (tensor.name != wire::kTimestep) continue;
    ASSIGN_OR_RETURN(const Tensor timesteps, ConvertedTo(tensor.view, DType::kFloat32));
    for (uint32_t row = 0; row < rows; ++row) {
      blocks_->SetTimestep(row, 0, timesteps.as<float>()[timesteps.elements() == 1 ? 0 : row]);
    }
  }
  request_.inputs.clear();
  request_.keepalive.reset();
  return OkStatus();
}

StatusOr<Job::Progress> InferJob::DoRun(const CancelFlag& cancel) {
  {
    const AddTime time(result_.timings.compute_ns);
    std::vector<RowBlocks> rows(checked_.rows);
    for (uint32_t row = 0; row < checked_.rows; ++row) rows[row] = blocks_->Row(row);
    for (const Section section : {Section::kCondition, Section::kSchedule, Section::kStep}) {
      RETURN_IF_ERROR(runner().Run(*plan_, section, rows, &cancel));
    }
  }
  const AddTime time(result_.timings.output_ns);
  Shape shape = plan_->output_shape;
  shape.insert(shape.begin(), checked_.rows);
  OutputTensor output = EmptyOutput(wire::kOutput, checked_.dtype, std::move(shape));
  TensorView row;
  row.shape = plan_->output_shape;
  ASSIGN_OR_RETURN(row.bytes, CheckedBytes(row.shape, DType::kFloat32));
  const uint64_t stride = output.bytes.size() / checked_.rows;
  for (uint32_t i = 0; i < checked_.rows; ++i) {
    row.data = blocks_->Output(i);
    RETURN_IF_ERROR(Convert(row, checked_.dtype, output.bytes.data() + i * stride));
  }
  result_.outputs.push_back(std::move(output));
  return Progress::kDone;
}

void InferJob::Finish(const Status& status, const JobTimes& times) {
  blocks_.reset();
  const Snapshot& snapshot = *context_.snapshot;
  const RequestLine line{"infer", request_.id, snapshot.model, snapshot.variant,
                         Format("{}x {}", checked_.rows, shape_.Key())};
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
  context_.statistics->AddSuccess({snapshot.model, snapshot.variant, checked_.rows, checked_.rows,
                                   1, times.total_ns, result_.timings, false});
  done_(std::move(result_));
}

}  // namespace unetd
