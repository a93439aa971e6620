#include "server/diffusion/scheduler.h"

#include "server/base/text.h"
#include "server/diffusion/ddim.h"

namespace unetd {

StatusOr<std::unique_ptr<Scheduler>> MakeScheduler(const SchedulerConfig& config) {
  RETURN_IF_ERROR(CheckSchedulerClass(config.class_name));
  ASSIGN_OR_RETURN(std::unique_ptr<DdimScheduler> ddim, DdimScheduler::Create(config));
  return std::unique_ptr<Scheduler>(std::move(ddim));
}

}  // namespace unetd
