// Text for people: messages, strangers' names made safe to print, patterns.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace unetd {

inline constexpr size_t kQuotedCharacters = 64;

// `text` as any message may show it: control characters, quotes, backslashes and bytes that are not
// UTF-8 escaped (\n, \x07, \'), in single quotes, cut to 64 characters (then "..." follows). Never
// breaks a line or a terminal.
std::string Quoted(std::string_view text);

// `text` as a JSON string with its double quotes; bytes that are not UTF-8 become U+FFFD.
std::string JsonQuoted(std::string_view text);

// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool IsUtf8(std::string_view text);

// fmt::format: Format("{}: expected {} bytes, got {}", name, expected, got).
template <typename... Args>
std::string Format(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::vformat(fmt::string_view(format), fmt::make_format_args(args...));
}

// "0 bytes", "512 bytes", "1.5 KiB", "3.2 GiB".
std::string HumanBytes(uint64_t bytes);

// True if `pattern` matches all of `text`; '*' matches any characters, dots too, or none; nothing
// else is special. At most pattern * text steps, no recursion.
bool GlobMatch(std::string_view pattern, std::string_view text);

// The fewest letters changed, added, left out or swapped with their neighbour that make `b` of `a`.
size_t EditDistance(std::string_view a, std::string_view b);

// The one of `known` (any range of strings) that `word` was probably meant to be, or "" if none is
// close.
template <typename Range>
std::string Closest(std::string_view word, const Range& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const auto& candidate : known) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = std::string(candidate);
    }
  }
  return best;
}

}  // namespace unetd
