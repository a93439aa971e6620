#include "server/plan/conv_policy.h"

#include <fmt/format.h>

#include "server/plan/graph.h"

namespace unetd {

static_assert(static_cast<uint32_t>(ConvAlgorithm::kAuto) == UNETD_CONV_AUTO);
static_assert(static_cast<uint32_t>(ConvAlgorithm::kDirect) == UNETD_CONV_DIRECT);
static_assert(static_cast<uint32_t>(ConvAlgorithm::kWinograd) == UNETD_CONV_WINOGRAD);

ConvPolicy ConvPolicy::Of(ConvAlgorithm algorithm, Size reference, PlanBuilder& emitted) {
  ConvPolicy policy{algorithm, reference, {}};
  for (const Node& node : emitted.graph().nodes) {
    if (node.desc.kind != UNETD_OP_CONV2D) continue;
    const unetd_conv2d& conv = node.desc.u.conv2d;
    policy.outputs.try_emplace(node.weights.front().ref.name, Size{conv.out_h, conv.out_w});
  }
  return policy;
}

std::string ConvPolicy::Key() const {
  if (algorithm == ConvAlgorithm::kDirect) return ConvName(algorithm);
  return fmt::format("{} by {}x{}", ConvName(algorithm), reference.h, reference.w);
}

void ConvPolicy::Apply(const WeightRef& weight, unetd_conv2d& conv) const {
  conv.algorithm = static_cast<uint32_t>(algorithm);
  const auto found = outputs.find(weight.name);
  if (found == outputs.end()) return;
  conv.reference_h = found->second.h;
  conv.reference_w = found->second.w;
}

}  // namespace unetd
