#include "server/attention/processor_table.h"

#include <algorithm>
#include <array>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

constexpr OptionSpec kSliceSize[] = {{"slice_size", OptionType::kPositiveInt, true}};

constexpr ProcessorRow kProcessors[] = {
    {"AttnProcessor", Projection::kPlain, UNETD_ATTENTION_MATH, kScaleOfLayer | kHonoursUpcast, {}},
    {"AttnProcessor2_0", Projection::kPlain, UNETD_ATTENTION_SDPA, kHonoursQkNorm, {}},
    {"FusedAttnProcessor2_0", Projection::kFused, UNETD_ATTENTION_SDPA, kHonoursQkNorm, {}},
    {"SlicedAttnProcessor", Projection::kPlain, UNETD_ATTENTION_SLICED,
     kScaleOfLayer | kHonoursUpcast | kIgnoresSpatialNorm, kSliceSize},
};

// Processors that diffusers has for this kind of UNet and that have no row yet.
constexpr std::string_view kNotBuilt[] = {
    "AttnAddedKVProcessor",
    "AttnAddedKVProcessor2_0",
    "AttnProcessorNPU",
    "CrossFrameAttnProcessor",
    "CrossFrameAttnProcessor2_0",
    "CustomDiffusionAttnProcessor",
    "CustomDiffusionAttnProcessor2_0",
    "CustomDiffusionXFormersAttnProcessor",
    "IPAdapterAttnProcessor",
    "IPAdapterAttnProcessor2_0",
    "IPAdapterXFormersAttnProcessor",
    "PAGCFGIdentitySelfAttnProcessor2_0",
    "PAGIdentitySelfAttnProcessor2_0",
    "SlicedAttnAddedKVProcessor",
    "XFormersAttnAddedKVProcessor",
    "XFormersAttnProcessor",
    "XLAFlashAttnProcessor2_0",
};

constexpr bool NamesAreUnique() {
  for (const ProcessorRow& a : kProcessors) {
    int same = 0;
    for (const ProcessorRow& b : kProcessors) same += a.name == b.name;
    for (std::string_view b : kNotBuilt) same += a.name == b;
    if (same != 1) return false;
  }
  return true;
}
static_assert(NamesAreUnique(), "two rows, or a row and an unbuilt processor, have one name");

std::string BuiltNames() {
  std::string names;
  for (const ProcessorRow& row : kProcessors) {
    if (!names.empty()) names += ", ";
    names += row.name;
  }
  return names;
}

}  // namespace

const OptionSpec* ProcessorRow::FindOption(std::string_view option) const {
  const auto found = std::find_if(options.begin(), options.end(),
                                  [&](const OptionSpec& spec) { return spec.name == option; });
  return found == options.end() ? nullptr : &*found;
}

std::span<const ProcessorRow> Processors() { return kProcessors; }

const ProcessorRow& DefaultProcessor() {
  static constexpr size_t kDefault = 1;
  static_assert(kProcessors[kDefault].name == "AttnProcessor2_0");
  return kProcessors[kDefault];
}

StatusOr<const ProcessorRow*> FindProcessor(std::string_view name) {
  for (const ProcessorRow& row : kProcessors) {
    if (row.name == name) return &row;
  }
  if (std::find(std::begin(kNotBuilt), std::end(kNotBuilt), name) != std::end(kNotBuilt)) {
    return InvalidArgument(
        Format("processor '{}' is a diffusers processor that is not built yet; built: {}", name,
               BuiltNames()));
  }
  std::vector<std::string_view> known(std::begin(kNotBuilt), std::end(kNotBuilt));
  for (const ProcessorRow& row : kProcessors) known.push_back(row.name);
  const std::string closest = Closest(name.substr(0, 2 * kQuotedCharacters), known);
  return InvalidArgument(Format("unknown processor {}{}; built: {}", Quoted(name),
                                closest.empty() ? "" : Format(", did you mean '{}'?", closest),
                                BuiltNames()));
}

std::string_view AlgorithmName(uint32_t algorithm) {
  switch (algorithm) {
    case UNETD_ATTENTION_MATH:
      return "math";
    case UNETD_ATTENTION_SDPA:
      return "sdpa";
    case UNETD_ATTENTION_SLICED:
      return "sliced";
    case UNETD_ATTENTION_MEMORY_EFFICIENT:
      return "memory_efficient";
    case UNETD_ATTENTION_NPU:
      return "npu";
    default:
      return "unknown";
  }
}

}  // namespace unetd
