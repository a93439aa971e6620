#include "backends/npu/cann_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <vector>

namespace unetd::npu {
namespace {

namespace fs = std::filesystem;

constexpr char kFiles[] =
    "libascendcl.so, libnnopbase.so, libopapi.so, libopapi_*.so, libcust_opapi.so";
constexpr size_t kFoldersText = 240;  // so that a whole message fits unetd_error
constexpr size_t kReasonText = 80;

// `text`, shortened in its middle: a path's end tells most, and its beginning the rest.
std::string Shortened(const std::string& text, size_t longest) {
  if (text.size() <= longest) return text;
  const size_t head = longest / 3;
  return text.substr(0, head) + "..." + text.substr(text.size() - (longest - head - 3));
}

struct Folder {
  std::string path;  // empty: the variable is not set
  std::string name;  // where it comes from, for messages
};

// The folders of custom operators, by name.
std::vector<Folder> VendorFolders() {
  const char* root = std::getenv("ASCEND_OPP_PATH");
  if (root == nullptr || *root == '\0') return {{"", "$ASCEND_OPP_PATH/vendors/*/op_api/lib"}};
  std::vector<std::string> paths;
  std::error_code error;
  const fs::path vendors = fs::path(root) / "vendors";
  for (fs::directory_iterator at(vendors, error), end; !error && at != end; at.increment(error)) {
    paths.push_back((at->path() / "op_api" / "lib").string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Folder> folders;
  for (std::string& path : paths) folders.push_back({std::move(path), ""});
  if (folders.empty()) folders.push_back({vendors.string() + "/*/op_api/lib", ""});
  return folders;
}

std::vector<Folder> Folders(const std::string& library_path) {
  std::vector<Folder> folders;
  if (!library_path.empty()) folders.push_back({library_path, "library_path"});
  for (const char* variable : {"ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"}) {
    const char* root = std::getenv(variable);
    const std::string name = std::string("$") + variable + "/lib64";
    const bool set = root != nullptr && *root != '\0';
    folders.push_back({set ? (fs::path(root) / "lib64").string() : "", name});
  }
  for (Folder& folder : VendorFolders()) folders.push_back(std::move(folder));
  return folders;
}

// The split operator libraries of a folder, by name.
std::vector<std::string> SplitLibraries(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with("libopapi_") && name.ends_with(".so")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Loader {
 public:
  explicit Loader(const std::string& library_path) : folders_(Folders(library_path)) {
    OpenFirst("libascendcl.so");
    OpenFirst("libnnopbase.so");
    // Custom operators come before CANN's own, split libraries before the whole one.
    OpenAll("libcust_opapi.so");
    for (const Folder& folder : folders_) {
      if (folder.path.empty()) continue;
      for (const std::string& name : SplitLibraries(folder.path)) OpenFirst(name);
    }
    OpenFirst("libopapi_transformer.so");
    OpenFirst("libopapi.so");
  }

  bool Has(const std::string& name) const { return opened_.contains(name); }

  template <typename Function>
  bool Find(const char* name, Function* function) const {
    for (void* handle : handles_) {
      if (void* symbol = dlsym(handle, name)) {
        static_assert(sizeof(*function) == sizeof(symbol));
        std::memcpy(function, &symbol, sizeof(symbol));
        return true;
      }
    }
    return false;
  }

  // "in <folders>", and why the first file that is there could not be opened.
  std::string Where() const {
    std::string text;
    const size_t share = kFoldersText / folders_.size();
    size_t left_out = 0;
    for (const Folder& folder : folders_) {
      const std::string one = folder.path.empty()
                                  ? folder.name + " (not set)"
                                  : Shortened(folder.path, std::max<size_t>(share, 40));
      if (text.size() + one.size() > kFoldersText + 40) {
        ++left_out;
        continue;
      }
      text += one + ", ";
    }
    if (left_out > 0) text += "... (" + std::to_string(left_out) + " more folders), ";
    text = "in " + text + "the loader's path";
    if (!reason_.empty()) text += "; " + Shortened(reason_, kReasonText);
    return text;
  }

 private:
  bool Open(const std::string& file) {
    dlerror();
    void* handle = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* words = dlerror();
      std::error_code error;
      if (reason_.empty() && fs::exists(file, error)) reason_ = words == nullptr ? file : words;
      return false;
    }
    handles_.push_back(handle);
    return true;
  }

  // From the first folder that has it, the loader's path last.
  void OpenFirst(const std::string& name) {
    if (Has(name)) return;
    for (const Folder& folder : folders_) {
      if (!folder.path.empty() && Open((fs::path(folder.path) / name).string())) {
        opened_.insert(name);
        return;
      }
    }
    if (Open(name)) opened_.insert(name);
  }

  // Each vendor has its own.
  void OpenAll(const std::string& name) {
    for (const Folder& folder : folders_) {
      if (!folder.path.empty() && Open((fs::path(folder.path) / name).string())) {
        opened_.insert(name);
      }
    }
    if (!Has(name) && Open(name)) opened_.insert(name);
  }

  std::vector<Folder> folders_;
  std::vector<void*> handles_;
  std::set<std::string> opened_;
  std::string reason_;
};

}  // namespace

Answer LoadCann(const std::string& library_path, Cann* cann) {
  const Loader loader(library_path);
  if (!loader.Has("libascendcl.so")) {
    return Unsupported(std::string("no CANN runtime: looked for ") + kFiles + " " + loader.Where());
  }
  std::string missing;
#define UNETD_CANN_REQUIRED(name) \
  if (!loader.Find(#name, &cann->name) && missing.empty()) missing = #name;
#define UNETD_CANN_OPTIONAL(name) (void)loader.Find(#name, &cann->name);
  UNETD_CANN_FUNCTIONS(UNETD_CANN_REQUIRED, UNETD_CANN_OPTIONAL)
#undef UNETD_CANN_REQUIRED
#undef UNETD_CANN_OPTIONAL
  if (missing.empty() && !cann->has_flash_attention_score() &&
      !cann->has_prompt_flash_attention()) {
    missing = "aclnnFlashAttentionScore (or aclnnPromptFlashAttentionV3)";
  }
  if (missing.empty()) return Ok();
  return Unsupported("CANN has no " + missing + ": looked for it in " + kFiles + " " +
                     loader.Where());
}

std::string Cann::Words(const char* function, int status) const {
  std::string text = std::string(function) + ": status " + std::to_string(status);
  const char* words = aclGetRecentErrMsg == nullptr ? nullptr : aclGetRecentErrMsg();
  if (words != nullptr && *words != '\0') text += std::string(": ") + words;
  return text;
}

}  // namespace unetd::npu
