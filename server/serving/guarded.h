// Guarded: what a request's work throws becomes its status.
#pragma once

#include <exception>
#include <new>

#include "server/base/status.h"

namespace unetd {

// `Result`: Status, or a StatusOr.
template <typename Result, typename Call>
Result Guarded(const Call& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory is left for this request");
  } catch (const std::exception& error) {
    return Internal(error.what());
  }
}

}  // namespace unetd
