#include "client/unetctl/latent_size.h"

#include <algorithm>
#include <charconv>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

// "4x64x96" -> {4, 64, 96}; empty if a part is not a number above 0.
Shape ParseSizes(const std::string& text) {
  Shape sizes;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int64_t size = 0;
    const auto [after, error] = std::from_chars(at, end, size);
    if (error != std::errc() || size < 1) return {};
    sizes.push_back(size);
    if (after == end) return sizes;
    if (*after != 'x') return {};
    at = after + 1;
  }
}

}  // namespace

CLI::Option* AddSizeOption(CLI::App* command, std::string* size) {
  return command
      ->add_option("--size", *size,
                   "HxW of the latents, or CxHxW; unsaid: the first size that the model was "
                   "loaded with")
      ->type_name("HxW");
}

Outcome ChooseSize(const std::string& size, const v1::Model& model, Shape* row_shape) {
  // An inpainting UNet takes more channels than the latents have: what it gives back are the
  // latents.
  *row_shape = {std::min(model.in_channels(), model.out_channels()), 0, 0};
  if (size.empty()) {
    if (model.shapes_size() == 0) {
      return UsageFailure(
          Format("model {} tells no size of its own: give --size HxW", Quoted(model.name())));
    }
    (*row_shape)[1] = model.shapes(0).height();
    (*row_shape)[2] = model.shapes(0).width();
    return std::nullopt;
  }
  const Shape sizes = ParseSizes(size);
  if (sizes.size() != 2 && sizes.size() != 3) {
    return UsageFailure(Format("--size {}: expected HxW or CxHxW, such as 64x64", Quoted(size)));
  }
  std::copy(sizes.begin(), sizes.end(), row_shape->end() - static_cast<int64_t>(sizes.size()));
  return std::nullopt;
}

}  // namespace unetd::unetctl
