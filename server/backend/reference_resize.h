// Where a resized pixel comes from, along one side.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "server/base/text.h"

namespace unetd::reference {

// As torch's interpolate(mode="nearest"): the source index of `index` when `in` pixels become
// `out`. torch multiplies by a float32 ratio, so its rounding is part of the rule; equal and
// doubled sizes are exact there too.
inline uint64_t NearestSource(int64_t index, uint64_t in, uint64_t out) {
  if (in == out) return static_cast<uint64_t>(index);
  if (out == 2 * in) return static_cast<uint64_t>(index) / 2;
  const float ratio = static_cast<float>(in) / static_cast<float>(out);
  const auto source = static_cast<uint64_t>(std::floor(static_cast<float>(index) * ratio));
  return std::min(source, in - 1);
}

struct Tap {
  uint64_t at = 0;
  double weight = 1;
};

// What the output position `index` of a side is made of.
inline std::vector<Tap> TapsOf(uint32_t mode, int64_t index, int64_t in, int64_t out) {
  const auto reflected = [in](int64_t at) {
    return static_cast<uint64_t>(at < 0 ? -at : at >= in ? 2 * in - 2 - at : at);
  };
  std::vector<Tap> taps;
  switch (mode) {
    case UNETD_RESIZE_AVERAGE_2X2:
      return {{static_cast<uint64_t>(2 * index), 0.5}, {static_cast<uint64_t>(2 * index + 1), 0.5}};
    case UNETD_RESIZE_BLUR_DOWN:
      for (int i = 0; i < 4; ++i) {
        taps.push_back({reflected(2 * index - 1 + i), (i == 0 || i == 3 ? 1 : 3) / 8.0});
      }
      return taps;
    case UNETD_RESIZE_BLUR_UP:
      // conv_transpose2d of stride 2 by twice the kernel: two of its four taps meet each pixel.
      return {{static_cast<uint64_t>(index / 2), 0.75},
              {reflected(index / 2 + (index % 2 == 0 ? -1 : 1)), 0.25}};
    case UNETD_RESIZE_MEAN:
      for (int64_t i = 0; i < in; ++i) {
        taps.push_back({static_cast<uint64_t>(i), 1.0 / static_cast<double>(in)});
      }
      return taps;
    default:
      return {{NearestSource(index, static_cast<uint64_t>(in), static_cast<uint64_t>(out)), 1}};
  }
}

// "", or why the mode cannot make this size of that.
inline std::string CheckResizeSides(const unetd_resize& resize) {
  const uint32_t h = resize.in_h, w = resize.in_w;
  uint32_t out_h = resize.out_h, out_w = resize.out_w;
  switch (resize.mode) {
    case UNETD_RESIZE_NEAREST:
      break;
    case UNETD_RESIZE_AVERAGE_2X2:
    case UNETD_RESIZE_BLUR_DOWN:
      out_h = h / 2, out_w = w / 2;
      break;
    case UNETD_RESIZE_BLUR_UP:
      out_h = 2 * h, out_w = 2 * w;
      break;
    case UNETD_RESIZE_MEAN:
      out_h = out_w = 1;
      break;
    default:
      return Format("resize mode {} is unknown", resize.mode);
  }
  const bool blur = resize.mode == UNETD_RESIZE_BLUR_DOWN || resize.mode == UNETD_RESIZE_BLUR_UP;
  if (blur && (h < 2 || w < 2)) return Format("a blur of {} x {} has no edges to reflect", h, w);
  if (out_h == resize.out_h && out_w == resize.out_w) return "";
  return Format("resize mode {} of {} x {} makes {} x {}, not {} x {}", resize.mode, h, w, out_h,
                out_w, resize.out_h, resize.out_w);
}

}  // namespace unetd::reference
