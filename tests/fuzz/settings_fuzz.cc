// The config, from any bytes.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "server/base/text.h"
#include "server/settings/parser.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto settings =
      unetd::ParseSettings({reinterpret_cast<const char*>(data), size}, "/etc/unetd");
  if (!settings.ok()) {
    const std::string& message = settings.status().message();
    Require(!message.empty() && message.size() < 4000 && unetd::IsUtf8(message));
    for (const char c : message) Require(static_cast<unsigned char>(c) >= 0x20);
    return 0;
  }
  Require(!settings->models.empty() && settings->server.limits.memory_mib > 0);
  for (const unetd::ModelSettings& model : settings->models) {
    Require(!model.name.empty() && model.path.is_absolute() && model.max_batch > 0);
    double sum = 0;
    for (const unetd::VariantSettings& variant : model.variants) {
      Require(!variant.name.empty() && variant.weight >= 0);
      sum += variant.weight;
      for (const unetd::ProcessorRule& rule : variant.processors) {
        Require(!rule.layers.empty() && !rule.processor.empty());
        for (const auto& [key, value] : rule.options) Require(!unetd::OptionText(value).empty());
      }
    }
    Require(sum > 0);
  }
  return 0;
}
