#include "server/serving/step_runner.h"

#include "server/serving/guarded.h"

namespace unetd {
namespace {

class DomainStepRunner final : public StepRunner {
 public:
  explicit DomainStepRunner(Runner& runner) : runner_(runner) {}

  Status Run(const Plan& plan, std::span<const RowBlocks> rows, const CancelFlag& cancel,
             std::span<OperatorTime> times) override {
    return Guarded<Status>([&] { return runner_.Run(plan, Section::kStep, rows, &cancel, times); });
  }
  uint32_t Room(const Plan& plan) override { return runner_.Room(plan); }

 private:
  Runner& runner_;
};

}  // namespace

std::unique_ptr<StepRunner> MakeStepRunner(Runner& runner) {
  return std::make_unique<DomainStepRunner>(runner);
}

}  // namespace unetd
