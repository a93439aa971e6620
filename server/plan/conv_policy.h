// ConvPolicy: how the convolutions of all plans of a model are computed, whatever their size, so
// that each weight is packed once and a layer's way does not change with the size that is asked
// for.
#pragma once

#include <map>
#include <string>

#include "server/plan/plan_builder.h"
#include "server/plan/value.h"
#include "server/settings/settings.h"

namespace unetd {

struct ConvPolicy {
  ConvAlgorithm algorithm = ConvAlgorithm::kAuto;
  Size reference{0, 0};  // the sample's size that `outputs` belong to
  // Each convolution's output size there, by the name of its weight. One that is not there goes by
  // its own size.
  std::map<std::string, Size> outputs;

  // Of what was emitted, perhaps in vain: then of what came before the error.
  static ConvPolicy Of(ConvAlgorithm algorithm, Size reference, PlanBuilder& emitted);

  // All that decides bits, as text.
  std::string Key() const;
  void Apply(const WeightRef& weight, unetd_conv2d& conv) const;
};

}  // namespace unetd
