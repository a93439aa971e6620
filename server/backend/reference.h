// The reference provider: every operator of the ABI in plain loops, values in fp32 and sums in
// fp64. It is the oracle of kernel tests and serves only where a config names it.
#pragma once

#include "backends/api/unetd_backend.h"

namespace unetd {

// The table of the backend "reference": owns the domain "host", takes no options, batch_invariant.
const unetd_backend* ReferenceBackend();

}  // namespace unetd
