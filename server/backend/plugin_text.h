// Text that a plugin wrote: read within its bounds, made printable.
#pragma once

#include <cstddef>
#include <string>

namespace unetd {

// At most `capacity` bytes of `text`, up to its NUL if it has one. Control bytes and what is not
// UTF-8 become '?' (the text may travel in a protobuf string). A null pointer is empty.
std::string PluginText(const char* text, size_t capacity);

// Whether `text` is 1 to `longest` bytes of [a-z0-9_-], the first a letter, then a NUL.
bool IsPluginName(const char* text, size_t longest);

}  // namespace unetd
