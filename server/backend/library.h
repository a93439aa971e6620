// Loads a backend from a shared library.
#pragma once

#include <memory>
#include <string>

#include "server/backend/backend.h"
#include "server/base/status.h"

namespace unetd {

// Loads `path` (links are followed; the file they lead to must be a regular file that not everyone
// may write), checks its table before any call into it and opens it with `options`. A library stays
// loaded until the process ends: its code may be referred to from anywhere. Errors begin with the
// file: kNotFound if there is none, kFailedPrecondition if it is no backend of this ABI, else what
// Backend::Open answers.
StatusOr<std::shared_ptr<Backend>> LoadBackend(const std::string& path, Backend::Options options,
                                               HostLog log = nullptr);

}  // namespace unetd
