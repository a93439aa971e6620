// Pictures on the way, as files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "client/unetctl/run.h"
#include "server/base/status.h"

namespace unetd::unetctl {

// Writes the previews of a job into a folder, which is made at the first: grids of pictures where
// samples have 1 or 3 channels, else safetensors files with the tensor pred_original_sample.
class PreviewFolder {
 public:
  // `job` must outlive this. `scale` as in DrawGrid.
  PreviewFolder(std::filesystem::path folder, const Job& job, int64_t scale);

  Status Write(const std::string& variant, const PreviewRows& preview);

  const std::vector<std::string>& files() const { return files_; }

 private:
  std::filesystem::path folder_;
  const Job& job_;
  int64_t scale_;
  std::vector<std::string> files_;
};

// The variant's name as a part of a file's name: letters, digits, '-', '_' and, but for the first,
// '.' stay, all else becomes '_'.
std::string FileNamePart(const std::string& name);

}  // namespace unetd::unetctl
