// The size of a model's latents: as the command line says, or the model's own.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "client/unetctl/failure.h"
#include "server/tensor/shape.h"
#include "unetd/v1/admin.pb.h"

namespace unetd::unetctl {

CLI::Option* AddSizeOption(CLI::App* command, std::string* size);

// [C,H,W] of "HxW" or "CxHxW"; where `size` does not say, the model's own. A usage failure if it is
// neither, or the model tells no size.
Outcome ChooseSize(const std::string& size, const v1::Model& model, Shape* row_shape);

}  // namespace unetd::unetctl
