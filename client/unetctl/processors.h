// `unetctl processors`: the attention processors that a config's rules may name.
#pragma once

#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"
#include "unetd/v1/admin.pb.h"

namespace unetd::unetctl {

struct ProcessorsOptions {
  std::string name;  // empty: all
  bool markdown = false;
  bool json = false;
};

Outcome ShowProcessors(const Connection& connection, const ProcessorsOptions& options);

// One line a processor.
std::string ProcessorsText(const v1::ListProcessorsResponse& processors);
// A section a processor, as docs/processors.md has them.
std::string ProcessorsMarkdown(const v1::ListProcessorsResponse& processors);

}  // namespace unetd::unetctl
