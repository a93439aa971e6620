// The processor table in words: for `unetctl processors` and docs/processors.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/attention/processor_table.h"

namespace unetd {

// Where it differs from its relatives and what it refuses, a sentence each.
std::vector<std::string_view> QuirkTexts(const ProcessorRow& row);

// A rule of a config's "processors" that binds it, as JSON.
std::string ExampleRule(const ProcessorRow& row);

// "integer >= 1", "true or false", "'float16' or 'bfloat16'", ...
std::string OptionTypeText(const OptionSpec& option);

}  // namespace unetd
