// Inputs made up from what a model says of itself, for measuring.
#pragma once

#include <cstdint>

#include "client/unetctl/inputs.h"
#include "inference/grpc_service.pb.h"
#include "server/base/status.h"

namespace unetd::unetctl {

struct SyntheticSizes {
  int64_t rows = 1;
  int64_t height = 64;  // of the latents
  int64_t width = 64;
  int64_t tokens = 77;  // of texts and whatever else has a free length
};

// One tensor for each input that the model needs (not the optional ones), in the datatype that it
// names: normal noise, the same at each call; timesteps are 500, labels 0, masks 1.
// INVALID_ARGUMENT for a datatype that is none, RESOURCE_EXHAUSTED if there is no memory.
StatusOr<TensorMap> SyntheticInputs(const inference::ModelConfig& model,
                                    const SyntheticSizes& sizes);

}  // namespace unetd::unetctl
