// A folder that lives as long as its test, and files of chosen bytes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/weights/writer.h"

namespace unetd::test {

class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "unetd_weights_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path Write(std::string_view name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

  // A checkpoint of one-element float tensors.
  std::filesystem::path WriteFloats(std::string_view name,
                                    const std::map<std::string, float>& values) const {
    std::map<std::string, TensorView> views;
    for (const auto& [tensor, value] : values) {
      views[tensor] = {DType::kFloat32, {1}, &value, sizeof(float)};
    }
    if (!WriteSafetensors(path_ / name, views).ok()) std::abort();
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

// The bytes of a file with this header and this data.
inline std::string SafetensorsBytes(std::string_view json, std::string_view data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(json.size() >> (8 * i));
  return bytes.append(json).append(data);
}

}  // namespace unetd::test
