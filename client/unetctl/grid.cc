#include "client/unetctl/grid.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr Colour kPaper{255, 255, 255};
constexpr Colour kInk{32, 32, 32};
constexpr int64_t kGap = 6;
constexpr int64_t kMargin = 16;
constexpr int64_t kTextScale = 3;
constexpr int64_t kCellWidth = 112;

uint8_t Level(float value) {
  if (!(value > -1)) return 0;  // NaN is black
  return static_cast<uint8_t>(std::lround((std::min(value, 1.0F) + 1) * 127.5F));
}

// sample: [C,H,W].
void DrawSample(const float* sample, const Shape& shape, int64_t x, int64_t y, int64_t scale,
                Picture* picture) {
  const int64_t plane = shape[1] * shape[2];
  for (int64_t row = 0; row < shape[1]; ++row) {
    for (int64_t column = 0; column < shape[2]; ++column) {
      const float* value = sample + row * shape[2] + column;
      const uint8_t first = Level(*value);
      const Colour colour = shape[0] == 1
                                ? Colour{first, first, first}
                                : Colour{first, Level(value[plane]), Level(value[2 * plane])};
      picture->Fill(x + column * scale, y + row * scale, scale, scale, colour);
    }
  }
}

}  // namespace

bool IsPicture(const Shape& row_shape) {
  return row_shape.size() == 3 && (row_shape[0] == 1 || row_shape[0] == 3);
}

StatusOr<Picture> DrawGrid(const Job& job, std::span<const VariantRun> runs, int64_t scale) {
  const Shape& shape = job.row_shape;
  if (!IsPicture(shape)) {
    return InvalidArgument(
        Format("a sample of shape {} is no picture: expected 1 or 3 channels", ShapeText(shape)));
  }
  if (scale == 0) scale = std::max<int64_t>((kCellWidth + shape[2] - 1) / shape[2], 1);
  const int64_t cell_width = shape[2] * scale;
  const int64_t cell_height = shape[1] * scale;
  const auto columns = static_cast<int64_t>(job.prompts.size());
  const auto rows = static_cast<int64_t>(runs.size());
  int64_t label_width = 0;
  for (const VariantRun& run : runs) {
    label_width = std::max(label_width, Picture::TextWidth(run.variant, kTextScale));
  }
  const int64_t left = kMargin + label_width + kMargin;
  const int64_t top = kMargin + Picture::TextHeight(kTextScale) + kMargin / 2;
  ASSIGN_OR_RETURN(Picture picture,
                   Picture::Create(left + columns * (cell_width + kGap) - kGap + kMargin,
                                   top + rows * (cell_height + kGap) - kGap + kMargin, kPaper));

  for (int64_t column = 0; column < columns; ++column) {
    // A label longer than its cell is cut: the next one must stay readable.
    std::string_view label = job.prompts[static_cast<size_t>(column)];
    while (!label.empty() && Picture::TextWidth(label, kTextScale) > cell_width)
      label.remove_suffix(1);
    const int64_t width = Picture::TextWidth(label, kTextScale);
    picture.Text(left + column * (cell_width + kGap) + (cell_width - width) / 2, kMargin, label,
                 kTextScale, kInk);
  }
  for (int64_t row = 0; row < rows; ++row) {
    const VariantRun& run = runs[static_cast<size_t>(row)];
    const int64_t y = top + row * (cell_height + kGap);
    picture.Text(kMargin, y + (cell_height - Picture::TextHeight(kTextScale)) / 2, run.variant,
                 kTextScale, kInk);
    for (int64_t column = 0; column < columns; ++column) {
      DrawSample(&run.samples[static_cast<size_t>(column * shape[0] * shape[1] * shape[2])], shape,
                 left + column * (cell_width + kGap), y, scale, &picture);
    }
  }
  return picture;
}

}  // namespace unetd::unetctl
