// How every fallible call in this plugin answers; plugin.cc turns it into a code and a text.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "backends/api/unetd_backend.h"

namespace unetd::npu {

struct [[nodiscard]] Answer {
  int32_t code = UNETD_OK;
  std::string text;

  bool ok() const { return code == UNETD_OK; }
};

inline Answer Ok() { return {}; }
inline Answer Unsupported(std::string text) { return {UNETD_UNSUPPORTED, std::move(text)}; }
inline Answer Invalid(std::string text) { return {UNETD_INVALID, std::move(text)}; }
inline Answer Failed(std::string text) { return {UNETD_FAILED, std::move(text)}; }

}  // namespace unetd::npu
