// An 8-bit RGB picture in memory, with what little drawing a labelled grid needs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "server/base/status.h"

namespace unetd::unetctl {

struct Colour {
  uint8_t red = 0, green = 0, blue = 0;
};

class Picture {
 public:
  // RESOURCE_EXHAUSTED if either side is above 32768 pixels, or there is no memory.
  static StatusOr<Picture> Create(int64_t width, int64_t height, Colour background);

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }  // height x width x 3

  // Outside the picture: nothing is drawn.
  void Fill(int64_t x, int64_t y, int64_t width, int64_t height, Colour colour);
  // One line of text, its upper left corner at x, y; each pixel of the font `scale` wide and high.
  void Text(int64_t x, int64_t y, std::string_view text, int64_t scale, Colour colour);
  static int64_t TextWidth(std::string_view text, int64_t scale);
  static int64_t TextHeight(int64_t scale);

 private:
  Picture(int64_t width, int64_t height) : width_(width), height_(height) {}

  int64_t width_;
  int64_t height_;
  std::vector<uint8_t> bytes_;
};

}  // namespace unetd::unetctl
