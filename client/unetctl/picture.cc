#include "client/unetctl/picture.h"

#include <algorithm>
#include <new>

#include "client/unetctl/font.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr int64_t kMaxSide = 32768;

}  // namespace

StatusOr<Picture> Picture::Create(int64_t width, int64_t height, Colour background) {
  if (width < 1 || height < 1 || width > kMaxSide || height > kMaxSide) {
    return ResourceExhausted(
        Format("a picture of {} x {} pixels: expected 1 to {} a side", width, height, kMaxSide));
  }
  Picture picture(width, height);
  try {
    picture.bytes_.resize(static_cast<size_t>(width * height * 3));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(Format("no memory for a picture of {} x {} pixels", width, height));
  }
  picture.Fill(0, 0, width, height, background);
  return picture;
}

void Picture::Fill(int64_t x, int64_t y, int64_t width, int64_t height, Colour colour) {
  const int64_t right = std::min(x + width, width_);
  const int64_t bottom = std::min(y + height, height_);
  for (int64_t row = std::max<int64_t>(y, 0); row < bottom; ++row) {
    for (int64_t column = std::max<int64_t>(x, 0); column < right; ++column) {
      uint8_t* pixel = &bytes_[static_cast<size_t>((row * width_ + column) * 3)];
      pixel[0] = colour.red;
      pixel[1] = colour.green;
      pixel[2] = colour.blue;
    }
  }
}

void Picture::Text(int64_t x, int64_t y, std::string_view text, int64_t scale, Colour colour) {
  for (const char c : text) {
    for (int row = 0; row < kGlyphHeight; ++row) {
      for (int column = 0; column < kGlyphWidth; ++column) {
        if (!GlyphPixel(c, column, row)) continue;
        Fill(x + column * scale, y + row * scale, scale, scale, colour);
      }
    }
    x += kGlyphAdvance * scale;
  }
}

int64_t Picture::TextWidth(std::string_view text, int64_t scale) {
  if (text.empty()) return 0;
  return (static_cast<int64_t>(text.size()) * kGlyphAdvance - 1) * scale;
}

int64_t Picture::TextHeight(int64_t scale) { return kGlyphHeight * scale; }

}  // namespace unetd::unetctl
