#include "client/unetctl/png_file.h"

#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "server/base/text.h"

namespace unetd::unetctl {

Status WritePng(const std::filesystem::path& path, const Picture& picture) {
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    return Internal(Format("cannot write {}: {}", path.string(), std::strerror(errno)));
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width());
  image.height = static_cast<png_uint_32>(picture.height());
  image.format = PNG_FORMAT_RGB;
  const bool written =
      png_image_write_to_stdio(&image, file, 0, picture.bytes().data(), 0, nullptr) != 0;
  const bool closed = std::fclose(file) == 0;
  if (!written) return Internal(Format("cannot write {}: {}", path.string(), image.message));
  if (!closed) return Internal(Format("cannot write {}: {}", path.string(), std::strerror(errno)));
  return OkStatus();
}

}  // namespace unetd::unetctl
