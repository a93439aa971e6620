// The words in which this plugin answers.
#pragma once

#include "backends/api/answer.h"

namespace unetd::memory_efficient {

using plugin::Answer;
using plugin::Failed;
using plugin::Guard;
using plugin::Invalid;
using plugin::Ok;
using plugin::Unsupported;

}  // namespace unetd::memory_efficient
