#include "server/weights/checkpoint_folder.h"

#include <array>
#include <system_error>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStem = "diffusion_pytorch_model";
constexpr char kAdvice[] =
    "pickle files can run any program and are not read; convert once, in Python: "
    "pipe.unet.save_pretrained(folder, safe_serialization=True)";

bool IsPickle(const fs::path& file) {
  constexpr std::array<std::string_view, 6> kEndings = {".bin",  ".pt",  ".pth",
                                                        ".ckpt", ".pkl", ".pickle"};
  const std::string ending = file.extension().string();
  for (const std::string_view known : kEndings) {
    if (ending == known) return true;
  }
  return file.filename().string().ends_with(".bin.index.json");
}

// What stands between `head` and `tail` in `name`, with the dot before it: "" for the plain name,
// "fp16" for a variant. False if the name is another, or of a shard ("fp16-00001-of-00002").
bool TakeVariant(std::string_view name, std::string_view head, std::string_view tail,
                 std::string& variant) {
  if (!name.starts_with(head) || !name.ends_with(tail)) return false;
  if (name.size() < head.size() + tail.size()) return false;
  const std::string_view middle = name.substr(head.size(), name.size() - head.size() - tail.size());
  if (middle.empty()) {
    variant.clear();
    return true;
  }
  if (middle[0] != '.' || middle.size() < 2) return false;
  variant = middle.substr(1);
  return variant.find("-of-") == std::string::npos;
}

struct Found {
  std::map<std::string, CheckpointFiles> variants;  // "" is the plain one
  bool pickle = false;
};

void Sort(const fs::path& file, Found& found) {
  const std::string name = file.filename().string();
  std::string variant;
  const std::string plain(kStem);
  const std::string stem_st = plain + ".safetensors";
  // diffusers writes the variant before the last suffix; older releases wrote it elsewhere.
  if (TakeVariant(name, stem_st + ".index", ".json", variant) ||
      TakeVariant(name, plain, ".safetensors.index.json", variant) ||
      TakeVariant(name, stem_st, ".index.json", variant)) {
    found.variants[variant].index = file;
  } else if (TakeVariant(name, plain, ".safetensors", variant)) {
    found.variants[variant].single = file;
  } else if (IsPickle(file)) {
    found.pickle = true;
  }
}

StatusOr<Found> Look(const fs::path& folder) {
  Found found;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) Sort(it->path(), found);
  if (!error) return found;
  return InvalidArgument(
      Format("{}: cannot read the folder: {}", folder.string(), error.message()));
}

std::string NamesOf(const std::map<std::string, CheckpointFiles>& variants) {
  std::string names;
  for (const auto& [name, files] : variants) {
    names += (names.empty() ? "" : ", ") + (name.empty() ? "the plain one" : Quoted(name));
  }
  return names;
}

}  // namespace

StatusOr<CheckpointFiles> FindCheckpoint(const fs::path& path, std::string_view variant) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return NotFound(Format("{}: no such file or folder", path.string()));
  }
  if (!fs::is_directory(status)) {
    if (IsPickle(path)) return InvalidArgument(path.string() + ": " + kAdvice);
    if (!variant.empty()) {
      return InvalidArgument(Format("{}: variant {} asked for, but this is a file, not a folder",
                                    path.string(), Quoted(variant)));
    }
    return CheckpointFiles{path, {}};
  }
  ASSIGN_OR_RETURN(const Found found, Look(path));
  const auto& variants = found.variants;
  if (variants.empty()) {
    const std::string expected =
        Format("{}: expected {}[.variant].safetensors or its .index.json", path.string(), kStem);
    return found.pickle ? InvalidArgument(expected + ", got pickle files only: " + kAdvice)
                        : NotFound(expected + ", got neither");
  }
  auto chosen = variants.find(std::string(variant));
  if (chosen == variants.end() && variant.empty() && variants.size() == 1)
    chosen = variants.begin();
  if (chosen == variants.end()) {
    return InvalidArgument(variant.empty()
                               ? Format("{}: expected one checkpoint variant, got {}",
                                        path.string(), NamesOf(variants))
                               : Format("{}: no checkpoint variant {}, only {}", path.string(),
                                        Quoted(variant), NamesOf(variants)));
  }
  // As diffusers: where both are there, the shards win.
  if (!chosen->second.index.empty()) return CheckpointFiles{{}, chosen->second.index};
  return chosen->second;
}

}  // namespace unetd
