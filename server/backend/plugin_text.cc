#include "server/backend/plugin_text.h"

#include <cstring>

namespace unetd {
namespace {

// The length of the UTF-8 sequence at `text`, or 0 if there is none within `left` bytes.
size_t SequenceLength(const unsigned char* text, size_t left) {
  const unsigned char lead = text[0];
  const size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length == 0 || length > left) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((text[i] & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what lies beyond U+10FFFF.
  if (lead == 0xe0 && text[1] < 0xa0) return 0;
  if (lead == 0xed && text[1] > 0x9f) return 0;
  if (lead == 0xf0 && text[1] < 0x90) return 0;
  if (lead == 0xf4 && text[1] > 0x8f) return 0;
  return length;
}

}  // namespace

std::string PluginText(const char* text, size_t capacity) {
  std::string result;
  if (text == nullptr) return result;
  const size_t length = strnlen(text, capacity);
  const auto* bytes = reinterpret_cast<const unsigned char*>(text);
  result.reserve(length);
  for (size_t i = 0; i < length;) {
    if (bytes[i] >= 0x20 && bytes[i] < 0x7f) {
      result += text[i++];
    } else if (const size_t sequence = SequenceLength(bytes + i, length - i)) {
      result.append(text + i, sequence);
      i += sequence;
    } else {
      result += bytes[i] == '\n' || bytes[i] == '\t' ? ' ' : '?';
      ++i;
    }
  }
  return result;
}

bool IsPluginName(const char* text, size_t longest) {
  if (text == nullptr) return false;
  const size_t length = strnlen(text, longest + 1);
  if (length == 0 || length > longest || text[0] < 'a' || text[0] > 'z') return false;
  for (size_t i = 0; i < length; ++i) {
    const char c = text[i];
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) return false;
  }
  return true;
}

}  // namespace unetd
