// For backends written in C++: how a fallible call answers inside a plugin, and the wall that turns
// that, or whatever is thrown, into the ABI's code and text. Not part of the ABI.
#pragma once

#include <cstdint>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "backends/api/unetd_backend.h"

namespace unetd::plugin {

struct [[nodiscard]] Answer {
  int32_t code = UNETD_OK;
  std::string text;

  bool ok() const { return code == UNETD_OK; }
};

inline Answer Ok() { return {}; }
inline Answer Unsupported(std::string text) { return {UNETD_UNSUPPORTED, std::move(text)}; }
inline Answer Invalid(std::string text) { return {UNETD_INVALID, std::move(text)}; }
inline Answer Failed(std::string text) { return {UNETD_FAILED, std::move(text)}; }

inline int32_t Report(int32_t code, const char* text, unetd_error* error) {
  if (code != UNETD_OK && error != nullptr) {
    std::snprintf(error->text, sizeof(error->text), "%s", text);
  }
  return code;
}

// Runs `body`, an Answer(), and turns whatever it throws into a code and a text.
template <typename Body>
int32_t Guard(unetd_error* error, const Body& body) {
  try {
    const Answer answer = body();
    return Report(answer.code, answer.text.c_str(), error);
  } catch (const std::bad_alloc&) {
    return Report(UNETD_NO_MEMORY, "out of memory", error);
  } catch (const std::exception& e) {
    return Report(UNETD_FAILED, e.what(), error);
  } catch (...) {
    return Report(UNETD_FAILED, "unknown failure", error);
  }
}

}  // namespace unetd::plugin
