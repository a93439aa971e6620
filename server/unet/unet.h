// ModelUNet: one model's UNet as the rest of the server sees it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "server/attention/binding.h"
#include "server/base/status.h"
#include "server/plan/plan_builder.h"
#include "server/unet/unet_config.h"
#include "server/unet/unet_inputs.h"
#include "server/unet/unet_layout.h"

namespace unetd {

// Immutable; any thread.
class ModelUNet {
 public:
  // Reads `folder`/config.json; see LoadUNetConfig for its errors. Weights are not looked at.
  static StatusOr<std::shared_ptr<const ModelUNet>> Load(const std::filesystem::path& folder);
  explicit ModelUNet(UNetConfig config);

  const UNetConfig& config() const { return config_; }
  const UNetLayout& layout() const { return layout_; }
  const std::vector<AttentionLayer>& layers() const { return layers_; }  // attn_processors' order
  const std::vector<InputDecl>& inputs() const { return inputs_; }
  Shape output_shape() const { return {-1, config_.out_channels, -1, -1}; }  // of wire::kOutput

  // See unet_inputs.h. A plan built for the answer has an input of the same name for each tensor
  // sent, one row's elements in the tensor's order (the timestep is the row's own); but for a text
  // that no layer reads.
  StatusOr<UNetShape> Resolve(const std::string& model, const std::vector<NamedShape>& sent) const;

  // What a request for `size` most likely sends: for building plans before any has come.
  UNetShape LikelyShape(Size size) const;
  // sample_size, or the least that gives the deepest level 8x8.
  Size DefaultSize() const;

  // Errors stay in the builder.
  void Emit(PlanBuilder& builder, const UNetShape& shape, const VariantBindings& bindings) const;

 private:
  UNetConfig config_;
  UNetLayout layout_;
  std::vector<AttentionLayer> layers_;
  std::vector<InputDecl> inputs_;
};

}  // namespace unetd
