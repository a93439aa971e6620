// Samples as a labelled grid of pictures: a row a variant, a column a prompt.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "client/unetctl/picture.h"
#include "client/unetctl/run.h"
#include "server/base/status.h"

namespace unetd::unetctl {

// True if samples of this shape [C,H,W] are pictures: 1 channel is grey, 3 are red, green and blue.
// Latents of other models need their VAE first.
bool IsPicture(const Shape& row_shape);

// Values from -1 (black) to 1 (white), beyond them clipped. `scale`: pixels a side of each sample
// pixel; 0 picks one that makes a cell about 112 pixels wide.
StatusOr<Picture> DrawGrid(const Job& job, std::span<const VariantRun> runs, int64_t scale);

}  // namespace unetd::unetctl
