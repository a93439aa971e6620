// The checks that come before any call into a backend's table.
#include <cstddef>

#include "server/backend/backend.h"
#include "server/backend/plugin_text.h"

namespace unetd {
namespace {

constexpr size_t kLongestName = 63;
constexpr size_t kLongestVersion = 63;

// The first required entry that is null, or null.
const char* MissingEntry(const unetd_backend& table) {
  if (table.open == nullptr) return "open";
  if (table.close == nullptr) return "close";
  if (table.describe == nullptr) return "describe";
  if (table.supports == nullptr) return "supports";
  if (table.pack_recipe == nullptr) return "pack_recipe";
  if (table.pack == nullptr) return "pack";
  if (table.prepare == nullptr) return "prepare";
  if (table.run == nullptr) return "run";
  if (table.release == nullptr) return "release";
  return nullptr;
}

bool IsVersion(const char* text) {
  if (text == nullptr) return false;
  const std::string version = PluginText(text, kLongestVersion + 1);
  return !version.empty() && version.size() <= kLongestVersion &&
         version.find_first_of("? \"'") == std::string::npos;
}

std::string AbiName(uint32_t major, uint32_t minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

Status CheckTable(const unetd_backend* table, const std::string& origin) {
  auto refuse = [&](const std::string& reason) {
    return Status(Code::kFailedPrecondition, origin + ": " + reason);
  };
  if (table == nullptr) return refuse("its entry returned no table (a null pointer)");
  if (reinterpret_cast<uintptr_t>(table) % alignof(unetd_backend) != 0) {
    return refuse("its table is not aligned to " + std::to_string(alignof(unetd_backend)) +
                  " bytes");
  }
  // Nothing beyond struct_size may be read, so the size comes before the version and the version
  // before the rest.
  const std::string size = "its table has " + std::to_string(table->struct_size) + " bytes";
  if (table->struct_size < offsetof(unetd_backend, name)) {
    return refuse(size + ", too few to hold the ABI's version");
  }
  const std::string host = AbiName(UNETD_ABI_MAJOR, UNETD_ABI_MINOR);
  if (table->abi_major != UNETD_ABI_MAJOR) {
    return refuse("it was built for ABI " + AbiName(table->abi_major, table->abi_minor) +
                  "; this server speaks " + host);
  }
  if (table->abi_minor > UNETD_ABI_MINOR) {
    return refuse("it needs the newer ABI " + AbiName(table->abi_major, table->abi_minor) +
                  "; this server speaks " + host + ": update the server");
  }
  if (table->struct_size < sizeof(unetd_backend)) {
    return refuse(size + ", ABI " + host + " needs " + std::to_string(sizeof(unetd_backend)));
  }
  if (const char* entry = MissingEntry(*table)) {
    return refuse("its table lacks the required entry '" + std::string(entry) + "'");
  }
  const int captures = (table->begin_capture != nullptr) + (table->end_capture != nullptr) +
                       (table->replay != nullptr) + (table->release_capture != nullptr);
  if (captures != 0 && captures != 4) {
    return refuse(
        "its table has some of begin_capture, end_capture, replay and release_capture; expected "
        "all or none");
  }
  if (table->name == nullptr) return refuse("its table has no name (a null pointer)");
  if (!IsPluginName(table->name, kLongestName)) {
    return refuse("its name '" + PluginText(table->name, kLongestName + 1) +
                  "' is malformed; expected 1 to 63 of a-z, 0-9, _ and -, a letter first");
  }
  if (!IsVersion(table->version)) {
    return refuse("its version " +
                  (table->version == nullptr
                       ? std::string("is a null pointer")
                       : "'" + PluginText(table->version, kLongestVersion + 1) + "' is malformed") +
                  "; expected 1 to 63 printable characters");
  }
  return OkStatus();
}

}  // namespace unetd
