#include "client/unetctl/previews.h"

#include <cctype>
#include <system_error>
#include <utility>

#include "client/unetctl/grid.h"
#include "client/unetctl/png_file.h"
#include "server/base/text.h"
#include "server/weights/writer.h"

namespace unetd::unetctl {
namespace {

Status WriteLatents(const std::filesystem::path& path, const Shape& row_shape,
                    const PreviewRows& preview) {
  Shape shape = row_shape;
  shape.insert(shape.begin(), static_cast<int64_t>(preview.rows));
  const TensorView view = {DType::kFloat32, shape, preview.samples.data(),
                           preview.samples.size() * sizeof(float)};
  std::error_code error;  // what it means shows when the file is written
  std::filesystem::create_directories(path.parent_path(), error);
  return WriteSafetensors(path, {{"pred_original_sample", view}});
}

}  // namespace

std::string FileNamePart(const std::string& name) {
  std::string part;
  for (const char c : name) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' ||
                      (c == '.' && !part.empty());
    part += kept ? c : '_';
  }
  return part;
}

PreviewFolder::PreviewFolder(std::filesystem::path folder, const Job& job, int64_t scale)
    : folder_(std::move(folder)), job_(job), scale_(scale) {}

Status PreviewFolder::Write(const std::string& variant, const PreviewRows& preview) {
  // A job of several requests has several files a step.
  const std::string rows =
      job_.prompts.size() > preview.rows ? Format("-row{:04}", preview.first) : std::string();
  const std::string stem = Format("{}-step{:04}{}", FileNamePart(variant), preview.step, rows);
  const bool picture = IsPicture(job_.row_shape);
  const std::filesystem::path path = folder_ / (stem + (picture ? ".png" : ".safetensors"));
  if (!picture) {
    RETURN_IF_ERROR(WriteLatents(path, job_.row_shape, preview));
  } else {
    Job part = job_;
    const auto first = job_.prompts.begin() + static_cast<std::ptrdiff_t>(preview.first);
    part.prompts.assign(first, first + static_cast<std::ptrdiff_t>(preview.rows));
    VariantRun run;
    run.variant = variant;
    run.samples = preview.samples;
    ASSIGN_OR_RETURN(const Picture drawn, DrawGrid(part, std::span(&run, 1), scale_));
    RETURN_IF_ERROR(WritePng(path, drawn));
  }
  files_.push_back(path.string());
  return OkStatus();
}

}  // namespace unetd::unetctl
