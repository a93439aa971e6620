// What `unetctl profile` prints.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "unetd/v1/admin.pb.h"

namespace unetd::unetctl {

// A line on what ran, one on its whole time, then tables, slowest first: `by` is operator, kind or
// layer, or empty for kinds and then operators; `top` operators or layers at most, 0: all.
std::string ProfileText(const v1::ProfileResponse& profile, std::string_view by, size_t top);

}  // namespace unetd::unetctl
