#include "server/base/text.h"

#include <algorithm>
#include <array>
#include <vector>

namespace unetd {
namespace {

// The code point at `text[at]` and its length in bytes; -1 and 1 where the bytes are not UTF-8.
struct Decoded {
  int32_t point;
  size_t length;
};

Decoded DecodeAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() - at < length) return {-1, 1};
  int32_t point = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {-1, 1};
    point = (point << 6) | (byte(at + i) & 0x3F);
  }
  const int32_t smallest = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  if (point < smallest || point > 0x10FFFF || surrogate) return {-1, 1};
  return {point, length};
}

// Controls, and what moves a terminal's cursor or turns its text around.
bool IsUnprintable(int32_t point) {
  return point < 0x20 || (point >= 0x7F && point <= 0x9F) || (point >= 0x200B && point <= 0x200F) ||
         (point >= 0x2028 && point <= 0x202E) || (point >= 0x2060 && point <= 0x206F) ||
         point == 0xFEFF;
}

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "'";
  size_t at = 0;
  for (size_t shown = 0; at < text.size() && shown < kQuotedCharacters; ++shown) {
    const auto [point, length] = DecodeAt(text, at);
    if (point < 0) {
      out += Format("\\x{:02x}", static_cast<uint8_t>(text[at]));
    } else if (point == '\n') {
      out += "\\n";
    } else if (point == '\t') {
      out += "\\t";
    } else if (point == '\r') {
      out += "\\r";
    } else if (point == '\'' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (IsUnprintable(point)) {
      out += point < 0x80 ? Format("\\x{:02x}", point) : Format("\\u{:04x}", point);
    } else {
      out += text.substr(at, length);
    }
    at += length;
  }
  return out + (at < text.size() ? "'..." : "'");
}

std::string JsonQuoted(std::string_view text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const auto [point, length] = DecodeAt(text, at);
    if (point < 0) {
      out += "\uFFFD";
    } else if (point == '"' || point == '\\') {
      out += '\\';
      out += static_cast<char>(point);
    } else if (point == '\n') {
      out += "\\n";
    } else if (IsUnprintable(point)) {
      out += Format("\\u{:04x}", point);
    } else {
      out += text.substr(at, length);
    }
    at += length;
  }
  return out + "\"";
}

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto [point, length] = DecodeAt(text, at);
    if (point < 0) return false;
    at += length;
  }
  return true;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1024) return Format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  for (; value >= 1023.95 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return Format("{:.1f} {}", value, kUnits[unit]);
}

bool GlobMatch(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0;
  size_t star =
      std::string_view::npos;  // the last '*' met, and the text that it has swallowed so far
  size_t swallowed = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      swallowed = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++swallowed;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

size_t EditDistance(std::string_view a, std::string_view b) {
  // Longer words are no misspelling of ours, and would cost their product.
  constexpr size_t kLongest = 64;
  if (a.size() > kLongest || b.size() > kLongest) return std::max(a.size(), b.size());
  using Row = std::array<size_t, kLongest + 1>;
  Row before{}, above{}, row{};
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = above;
    above = row;
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace unetd
