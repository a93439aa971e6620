// A small bitmap font for the labels of pictures: ASCII, 5 x 7 pixels a glyph.
#pragma once

namespace unetd::unetctl {

inline constexpr int kGlyphWidth = 5;
inline constexpr int kGlyphHeight = 7;
inline constexpr int kGlyphAdvance = 6;  // one column of space

// True if the glyph has ink at column x, row y from its upper left corner. What the font lacks
// shows as '?'.
bool GlyphPixel(char c, int x, int y);

}  // namespace unetd::unetctl
