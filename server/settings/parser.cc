#include "server/settings/parser.h"

#include <fstream>
#include <iterator>
#include <new>
#include <system_error>
#include <utility>

#include "server/base/text.h"
#include "server/settings/readers.h"

namespace unetd {
namespace {

namespace fs = std::filesystem;

fs::path Absolute(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  // "unet/" is the folder unet: its parent is the folder above.
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

StatusOr<BackendSettings> ReadBackend(const JsonValue& value, const ReaderContext& context) {
  static const std::vector<std::string_view> kKeys = {"name", "library", "options"};
  ASSIGN_OR_RETURN(const JsonObject object, JsonObject::Open(value, &kKeys));
  BackendSettings backend;
  backend.json_path = value.path();
  ASSIGN_OR_RETURN(const JsonValue name, object.Require("name"));
  ASSIGN_OR_RETURN(backend.name, ReadName(name));
  if (context.backends.contains(backend.name)) {
    return name.Error(Format("expected another name, got {} twice", Quoted(backend.name)));
  }
  if (const auto item = object.Find("library")) {
    ASSIGN_OR_RETURN(backend.library, ReadPath(*item, context));
  }
  const auto options = object.Find("options");
  if (!options) return backend;
  ASSIGN_OR_RETURN(const JsonObject option_object, JsonObject::Open(*options, nullptr));
  for (const auto& [key, item] : option_object.Items()) {
    std::string text =
        item.node().is_string() ? item.node().get<std::string>() : item.node().dump();
    if ((key + text).find('\0') != std::string::npos) return item.Expected("text without NUL");
    backend.options.emplace_back(key, std::move(text));
  }
  return backend;
}

StatusOr<Settings> ReadSettings(const JsonTree& tree, const fs::path& base_dir) {
  static const std::vector<std::string_view> kKeys = {"server", "backends", "models"};
  ASSIGN_OR_RETURN(const JsonObject root, JsonObject::Open(JsonValue(tree, ""), &kKeys));
  ReaderContext context{Absolute(base_dir), {}};
  Settings settings;
  if (const auto item = root.Find("server")) {
    ASSIGN_OR_RETURN(settings.server, ReadServer(*item));
  }
  if (settings.server.limits.memory_mib == 0) {
    settings.server.limits.memory_mib = DefaultMemoryMib();
  }
  if (const auto item = root.Find("backends")) {
    ASSIGN_OR_RETURN(const auto backends, item->List());
    for (const JsonValue& value : backends) {
      ASSIGN_OR_RETURN(BackendSettings backend, ReadBackend(value, context));
      context.backends.insert(backend.name);
      settings.backends.push_back(std::move(backend));
    }
  }
  ASSIGN_OR_RETURN(const JsonValue models, root.Require("models"));
  ASSIGN_OR_RETURN(const auto items, models.List());
  std::set<std::string> names;
  for (const JsonValue& item : items) {
    ASSIGN_OR_RETURN(ModelSettings model, ReadModel(item, context));
    if (!names.insert(model.name).second) {
      return JsonValue(item.node(), item.path() + ".name")
          .Error(Format("expected another name, got {} twice", Quoted(model.name)));
    }
    settings.models.push_back(std::move(model));
  }
  return settings;
}

}  // namespace

StatusOr<std::string> ReadName(const JsonValue& value) {
  constexpr std::string_view kAlphanumeric =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  ASSIGN_OR_RETURN(std::string name, value.Text());
  const bool legal = name.size() <= 64 && kAlphanumeric.find(name[0]) != kAlphanumeric.npos &&
                     name.find_first_not_of(std::string(kAlphanumeric) + "._-") == name.npos;
  if (legal) return name;
  return value.Expected(
      "a name of 1 to 64 letters, digits, '.', '_' or '-' that begins with a letter or digit");
}

StatusOr<fs::path> ReadPath(const JsonValue& value, const ReaderContext& context) {
  ASSIGN_OR_RETURN(const std::string text, value.Text());
  return Absolute(context.base_dir / text);
}

StatusOr<std::string> ReadBackendName(const JsonValue& value, const ReaderContext& context) {
  ASSIGN_OR_RETURN(std::string name, ReadName(value));
  if (context.backends.empty() || context.backends.contains(name)) return name;
  std::string listed;
  for (const std::string& backend : context.backends) {
    listed += (listed.empty() ? "" : ", ") + Quoted(backend);
  }
  return value.Expected("one that backends lists (" + listed + ")");
}

StatusOr<Settings> ParseSettings(std::string_view json_text, const fs::path& base_dir) {
  try {
    ASSIGN_OR_RETURN(const JsonTree tree, ParseJsonTree(json_text));
    return ReadSettings(tree, base_dir);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("no memory to read the config");
  } catch (const nlohmann::json::exception&) {
    return Internal("the config could not be read");
  }
}

StatusOr<Settings> LoadSettings(const fs::path& file) {
  const std::string context = file.string() + ": ";
  std::error_code error;
  if (fs::is_directory(file, error))
    return InvalidArgument(context + "expected a file, got a folder");
  std::ifstream in(file, std::ios::binary);
  if (!in) return NotFound(context + "cannot open the config");
  // One byte more than allowed, whatever the file is: a device has no end.
  std::string text(kMaxJsonBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return InvalidArgument(context + "cannot read the config");
  text.resize(static_cast<size_t>(in.gcount()));
  auto settings = ParseSettings(text, file.parent_path());
  if (!settings.ok()) return settings.status().WithContext(context);
  return settings;
}

Settings DefaultSettings(const fs::path& digits) {
  Settings settings;
  settings.server.limits.memory_mib = DefaultMemoryMib();
  ModelSettings model;
  model.name = "digits";
  model.path = Absolute(digits / "unet");
  model.scheduler = Absolute(digits / "scheduler");
  model.json_path = "models[0]";
  model.variants.emplace_back();
  model.variants.back().json_path = model.json_path;
  settings.models.push_back(std::move(model));
  return settings;
}

}  // namespace unetd
