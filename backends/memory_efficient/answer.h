// How every fallible call of this plugin answers; plugin.cc turns it into a code and a text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "backends/api/unetd_backend.h"

namespace unetd::memory_efficient {

struct [[nodiscard]] Answer {
  int32_t code = UNETD_OK;
  std::string text;

  bool ok() const { return code == UNETD_OK; }
};

inline Answer Ok() { return {}; }
inline Answer Refuse(std::string why) { return {UNETD_UNSUPPORTED, std::move(why)}; }
inline Answer Invalid(std::string why) { return {UNETD_INVALID, std::move(why)}; }

}  // namespace unetd::memory_efficient
