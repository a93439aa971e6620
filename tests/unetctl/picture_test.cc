// The grid of pictures: drawing, scaling, the PNG file.
#include "client/unetctl/picture.h"

#include <gtest/gtest.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "client/unetctl/font.h"
#include "client/unetctl/grid.h"
#include "client/unetctl/png_file.h"

namespace unetd::unetctl {
namespace {

Colour At(const Picture& picture, int64_t x, int64_t y) {
  const uint8_t* pixel = &picture.bytes()[static_cast<size_t>((y * picture.width() + x) * 3)];
  return {pixel[0], pixel[1], pixel[2]};
}

TEST(Picture, FillStaysInside) {
  auto picture = Picture::Create(4, 3, {9, 9, 9});
  ASSERT_TRUE(picture.ok());
  picture->Fill(-5, -5, 7, 7, {1, 2, 3});    // covers x 0..1, y 0..1
  picture->Fill(3, 2, 100, 100, {4, 5, 6});  // covers the last pixel
  EXPECT_EQ(At(*picture, 0, 0).green, 2);
  EXPECT_EQ(At(*picture, 1, 1).green, 2);
  EXPECT_EQ(At(*picture, 2, 1).green, 9);
  EXPECT_EQ(At(*picture, 3, 2).blue, 6);
  EXPECT_EQ(At(*picture, 2, 2).blue, 9);
}

TEST(Picture, RefusesSizesThatAreNone) {
  EXPECT_FALSE(Picture::Create(0, 1, {}).ok());
  EXPECT_FALSE(Picture::Create(1, 1'000'000, {}).ok());
  EXPECT_FALSE(Picture::Create(1'000'000, 1, {}).ok());
  EXPECT_FALSE(Picture::Create(INT64_MAX, INT64_MAX, {}).ok());
}

TEST(Font, EveryVisibleCharacterHasInkAndIsItsOwn) {
  std::vector<std::string> seen;
  for (char c = '!'; c <= '~'; ++c) {
    std::string shape;
    for (int y = 0; y < kGlyphHeight; ++y) {
      for (int x = 0; x < kGlyphWidth; ++x) shape += GlyphPixel(c, x, y) ? '#' : '.';
    }
    EXPECT_NE(shape.find('#'), std::string::npos) << c;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), shape), 0) << c;
    seen.push_back(shape);
  }
  EXPECT_FALSE(GlyphPixel(' ', 2, 3));
  EXPECT_EQ(GlyphPixel('\x80', 2, 0), GlyphPixel('?', 2, 0));
  EXPECT_FALSE(GlyphPixel('#', 5, 0));
}

// Two prompts of [1,1,2] grey pictures.
Job SmallJob() {
  Job job;
  job.prompts = {"0", "1"};
  job.row_shape = {1, 1, 2};
  return job;
}

TEST(Grid, ScalesClipsAndPlacesSamples) {
  VariantRun run;
  run.variant = "v";
  run.samples = {-7, 1, std::nanf(""), 0};
  const auto picture = DrawGrid(SmallJob(), std::span(&run, 1), 50);
  ASSERT_TRUE(picture.ok()) << picture.status().message();
  // The cells are 100 x 50, at the right and lower margin of 16, with a gap of 6 between.
  const int64_t bottom = picture->height() - 16 - 1;
  const int64_t right = picture->width() - 16 - 1;
  EXPECT_EQ(At(*picture, right, bottom).red, 128);
  EXPECT_EQ(At(*picture, right - 49, bottom - 49).red, 128);
  EXPECT_EQ(At(*picture, right - 50, bottom).red, 0);  // NaN
  EXPECT_EQ(At(*picture, right - 99, bottom).red, 0);
  EXPECT_EQ(At(*picture, right - 100, bottom).red, 255);  // the gap
  EXPECT_EQ(At(*picture, right - 106, bottom).red, 255);  // 1
  EXPECT_EQ(At(*picture, right - 205, bottom).red, 0);    // -7
  EXPECT_EQ(At(*picture, right, bottom + 1).red, 255);
}

TEST(Grid, ThreeChannelsAreRedGreenBlue) {
  Job job = SmallJob();
  job.prompts = {"0"};
  job.row_shape = {3, 1, 1};
  VariantRun run;
  run.samples = {1, -1, 0};
  const auto picture = DrawGrid(job, std::span(&run, 1), 10);
  ASSERT_TRUE(picture.ok());
  const Colour colour = At(*picture, picture->width() - 17, picture->height() - 17);
  EXPECT_EQ(colour.red, 255);
  EXPECT_EQ(colour.green, 0);
  EXPECT_EQ(colour.blue, 128);
}

TEST(Grid, RefusesLatentsThatAreNoPicture) {
  Job job = SmallJob();
  job.row_shape = {4, 1, 1};
  const auto picture = DrawGrid(job, {}, 0);
  ASSERT_FALSE(picture.ok());
  EXPECT_NE(picture.status().message().find("[4,1,1]"), std::string::npos);
}

TEST(PngFile, HoldsThePicturesPixels) {
  auto picture = Picture::Create(3, 2, {10, 20, 30});
  ASSERT_TRUE(picture.ok());
  picture->Fill(2, 1, 1, 1, {200, 100, 50});
  const auto folder = std::filesystem::path(testing::TempDir()) / "unetctl_png";
  std::filesystem::remove_all(folder);
  const auto path = folder / "new" / "picture.png";
  const Status status = WritePng(path, *picture);
  ASSERT_TRUE(status.ok()) << status.message();
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  ASSERT_NE(png_image_begin_read_from_file(&image, path.c_str()), 0) << image.message;
  ASSERT_EQ(image.width, 3U);
  ASSERT_EQ(image.height, 2U);
  image.format = PNG_FORMAT_RGB;
  std::vector<uint8_t> bytes(PNG_IMAGE_SIZE(image));
  ASSERT_NE(png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr), 0);
  EXPECT_EQ(bytes, picture->bytes());
  std::filesystem::remove_all(folder);
}

TEST(PngFile, NamesTheFileThatCannotBeWritten) {
  const auto picture = Picture::Create(1, 1, {});
  ASSERT_TRUE(picture.ok());
  const Status status = WritePng("/proc/no/picture.png", *picture);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("/proc/no/picture.png"), std::string::npos);
}

}  // namespace
}  // namespace unetd::unetctl
