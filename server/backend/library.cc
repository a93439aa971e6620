#include "server/backend/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <vector>

#include "server/backend/plugin_text.h"
#include "server/base/text.h"

namespace unetd {
namespace {

constexpr size_t kLongestPath = 4096;

Status Refused(const std::string& origin, const std::string& reason) {
  return {Code::kFailedPrecondition, origin + ": " + reason};
}

// The file that `path` leads to, absolute, without links.
StatusOr<std::string> RealFile(const std::string& path) {
  const std::string origin = "backend library '" + PluginText(path.c_str(), kLongestPath) + "'";
  if (path.empty()) return InvalidArgument("backend library: the path is empty");
  if (path.find('\0') != std::string::npos) {
    return InvalidArgument(origin + ": the path holds a NUL character");
  }
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) {
    const int error = errno;
    const std::string reason = origin + ": " + std::strerror(error);
    struct stat link {};
    if (error == ENOENT && lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode)) {
      return NotFound(reason + " (a link that leads nowhere)");
    }
    return error == ENOENT || error == ENOTDIR ? NotFound(reason)
                                               : Refused(origin, std::strerror(error));
  }
  std::string file = resolved;
  std::free(resolved);
  return file;
}

Status CheckFile(const std::string& file, const std::string& origin) {
  struct stat info {};
  if (stat(file.c_str(), &info) != 0) return Refused(origin, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return Refused(origin, "is a directory, expected a shared library");
  if (!S_ISREG(info.st_mode)) return Refused(origin, "is not a regular file");
  if ((info.st_mode & S_IWOTH) != 0) {
    return Refused(origin,
                   "everyone may write it, so it is not loaded; take that right away (chmod o-w)");
  }
  return OkStatus();
}

// The loader maps what the program headers speak of and would die of a bus error where the file is
// shorter. What is no 64-bit ELF file at all is left to it.
Status CheckWhole(const std::string& file, const std::string& origin) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  const auto size = static_cast<uint64_t>(std::max<std::streamoff>(in.tellg(), 0));
  Elf64_Ehdr header{};
  in.seekg(0);
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (!in || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr)) {
    return OkStatus();
  }
  const Status truncated = Refused(origin, "the file is cut short: it speaks of more than its " +
                                               std::to_string(size) + " bytes");
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  const uint64_t bytes = segments.size() * sizeof(Elf64_Phdr);
  if (header.e_phoff > size || bytes > size - header.e_phoff) return truncated;
  in.seekg(static_cast<std::streamoff>(header.e_phoff));
  in.read(reinterpret_cast<char*>(segments.data()), static_cast<std::streamsize>(bytes));
  if (!in) return truncated;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset) return truncated;
  }
  return OkStatus();
}

std::string LoaderError() {
  const char* text = dlerror();
  return text == nullptr ? "no reason given" : PluginText(text, 1024);
}

}  // namespace

StatusOr<std::shared_ptr<Backend>> LoadBackend(const std::string& path, Backend::Options options,
                                               HostLog log) {
  ASSIGN_OR_RETURN(const std::string file, RealFile(path));
  const std::string origin = "backend library '" + PluginText(file.c_str(), kLongestPath) + "'";
  RETURN_IF_ERROR(CheckFile(file, origin));
  RETURN_IF_ERROR(CheckWhole(file, origin));

  const unetd_backend* table = nullptr;
  try {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return Refused(origin, "cannot be loaded: " + LoaderError());
    dlerror();
    void* symbol = dlsym(library, UNETD_BACKEND_ENTRY);
    if (symbol == nullptr) {
      return Refused(origin, "is no backend: it does not export " UNETD_BACKEND_ENTRY);
    }
    unetd_backend_entry_fn entry = nullptr;
    static_assert(sizeof(entry) == sizeof(symbol));
    std::memcpy(&entry, &symbol, sizeof(entry));
    table = entry();
  } catch (const std::exception& e) {
    return Refused(origin, "threw in " UNETD_BACKEND_ENTRY ": " + PluginText(e.what(), 256));
  } catch (...) {
    return Refused(origin, "threw in " UNETD_BACKEND_ENTRY);
  }
  auto backend = Backend::Open(table, options, origin, log);
  if (!backend.ok() && !backend.status().message().starts_with(origin)) {
    return backend.status().WithContext(origin + ": ");
  }
  return backend;
}

}  // namespace unetd
