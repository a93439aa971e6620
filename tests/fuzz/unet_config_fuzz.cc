// Any bytes are a config or a refusal; what is accepted can be laid out and asked for inputs.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/unet/unet.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto config = unetd::ParseUNetConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok()) return 0;
  const unetd::ModelUNet unet(*std::move(config));
  if (unet.layers().size() != unet.layout().attention_layers) std::abort();
  const unetd::Size size_wanted = unet.DefaultSize();
  const int64_t channels = unet.config().sample_channels();
  const auto shape = unet.Resolve(
      "fuzz",
      {{unetd::wire::kSample, unetd::DType::kFloat32, {1, channels, size_wanted.h, size_wanted.w}},
       {unetd::wire::kTimestep, unetd::DType::kInt64, {1}}});
  if (shape.ok() && shape->size != size_wanted) std::abort();
  return 0;
}
