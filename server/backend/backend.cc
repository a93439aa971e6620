#include "server/backend/backend.h"

#include <cstring>
#include <exception>
#include <new>
#include <vector>

#include "server/backend/plugin_text.h"
#include "server/base/log.h"

namespace unetd {
namespace {

constexpr uint32_t kMostThreads = 4096;
constexpr uintptr_t kAlignment = 64;

// `open` is called by one thread at a time, whichever backend it belongs to: two may share a
// library.
std::mutex& OpenMutex() {
  static std::mutex mutex;
  return mutex;
}

Code CodeOf(int32_t result) {
  switch (result) {
    case UNETD_UNSUPPORTED:
      return Code::kUnimplemented;
    case UNETD_NO_MEMORY:
      return Code::kResourceExhausted;
    case UNETD_CANCELLED:
      return Code::kCancelled;
    default:
      return Code::kInternal;  // INVALID, FAILED and what the ABI does not know
  }
}

const char* DefaultWords(int32_t result) {
  switch (result) {
    case UNETD_UNSUPPORTED:
      return "not supported (the backend gave no reason)";
    case UNETD_INVALID:
      return "the call was invalid (the backend gave no reason)";
    case UNETD_NO_MEMORY:
      return "out of memory (the backend gave no details)";
    case UNETD_CANCELLED:
      return "cancelled";
    default:
      return "failed (the backend gave no reason)";
  }
}

Status FromResult(int32_t result, const unetd_error& error, const std::string& prefix) {
  std::string words = PluginText(error.text, sizeof(error.text));
  if (words.empty()) words = DefaultWords(result);
  if (result < UNETD_OK || result > UNETD_FAILED) {
    words = "unknown return code " + std::to_string(result) + ": " + words;
  }
  return {CodeOf(result), prefix + ": " + words};
}

std::string Subject(const std::string& name, std::string_view what, const char* verb = " ") {
  return "backend '" + name + "'" + verb + std::string(what);
}

// Called by plugins, so nothing may be thrown and no level or length trusted.
void LogFromPlugin(int32_t level, const char* text) noexcept {
  try {
    const LogLevel known = level <= 0   ? LogLevel::kDebug
                           : level == 1 ? LogLevel::kInfo
                           : level == 2 ? LogLevel::kWarning
                                        : LogLevel::kError;
    if (LogEnabled(known)) Log(known, PluginText(text, 1024));
  } catch (...) {
  }
}

// Copies a plugin's text back into its own field, terminated and printable.
template <size_t N>
void Tidy(char (&field)[N]) {
  const std::string text = PluginText(field, N).substr(0, N - 1);
  std::memset(field, 0, N);
  std::memcpy(field, text.data(), text.size());
}

}  // namespace

template <typename F>
Status Backend::Guarded(std::string_view what, F&& call) const {
  unetd_error error{};
  int32_t result = UNETD_FAILED;
  try {
    result = call(&error);
  } catch (const std::bad_alloc&) {
    return ResourceExhausted(Subject(name_, what, " threw std::bad_alloc in "));
  } catch (const std::exception& e) {
    return Internal(Subject(name_, what, " threw in ") + ": " + PluginText(e.what(), 256));
  } catch (...) {
    return Internal(Subject(name_, what, " threw something that is no std::exception in "));
  }
  if (result == UNETD_OK) return OkStatus();
  return FromResult(result, error, Subject(name_, what));
}

Backend::Backend(const unetd_backend* table, std::string origin, HostLog log)
    : table_(table), origin_(std::move(origin)) {
  host_.struct_size = sizeof(host_);
  host_.log = log != nullptr ? log : LogFromPlugin;
}

Backend::~Backend() {
  if (!opened_) return;
  std::lock_guard lock(OpenMutex());
  const Status status = Guarded("close", [&](unetd_error*) {
    table_->close(state_);
    return UNETD_OK;
  });
  if (!status.ok()) host_.log(3, status.message().c_str());
}

StatusOr<std::shared_ptr<Backend>> Backend::Open(const unetd_backend* table, Options options,
                                                 std::string origin, HostLog log) {
  RETURN_IF_ERROR(CheckTable(table, origin));
  std::shared_ptr<Backend> backend(new Backend(table, std::move(origin), log));
  backend->name_ = table->name;
  backend->version_ = table->version;
  std::vector<unetd_option> entries;
  for (const auto& [key, value] : options) entries.push_back({key.c_str(), value.c_str()});

  int32_t result = UNETD_FAILED;
  Status status;
  {
    std::lock_guard lock(OpenMutex());
    status = backend->Guarded("open", [&](unetd_error* error) {
      result = table->open(&backend->host_, entries.data(), static_cast<uint32_t>(entries.size()),
                           &backend->state_, error);
      return result;
    });
  }
  if (!status.ok()) {
    // The options are the config's: what is wrong with them is its writer's to mend.
    if (result == UNETD_INVALID) return InvalidArgument(status.message());
    return status;
  }
  backend->opened_ = true;
  RETURN_IF_ERROR(backend->ReadInfo());
  return backend;
}

Status Backend::ReadInfo() {
  info_.struct_size = sizeof(info_);
  RETURN_IF_ERROR(Guarded(
      "describe", [&](unetd_error* error) { return table_->describe(state_, &info_, error); }));
  auto refuse = [&](const std::string& reason) {
    return Status(Code::kFailedPrecondition, Subject(name_, "describe") + ": " + reason);
  };
  if (!IsPluginName(info_.domain, sizeof(info_.domain) - 1)) {
    return refuse("its domain '" + PluginText(info_.domain, sizeof(info_.domain)) +
                  "' is malformed; expected 1 to 31 of a-z, 0-9, _ and -, a letter first");
  }
  Tidy(info_.device);
  if (info_.threads > kMostThreads) {
    return refuse("it wants " + std::to_string(info_.threads) + " threads; expected at most " +
                  std::to_string(kMostThreads));
  }
  if (info_.owns_domain > 1 || info_.batch_invariant > 1) {
    return refuse("owns_domain and batch_invariant must be 0 or 1");
  }
  if (owns_domain() &&
      (table_->allocate == nullptr || table_->free == nullptr || table_->copy == nullptr)) {
    return refuse("it owns the domain '" + domain() +
                  "' but its table lacks allocate, free or copy");
  }
  return OkStatus();
}

Status Backend::Supports(const unetd_op_desc& desc) const {
  std::lock_guard lock(mutex_);
  const Status status = Guarded(
      "supports", [&](unetd_error* error) { return table_->supports(state_, &desc, error); });
  const std::string said = Subject(name_, "supports") + ": ";
  if (status.code() != Code::kUnimplemented || !status.message().starts_with(said)) return status;
  return Unimplemented(Subject(name_, "refuses") + ": " + status.message().substr(said.size()));
}

StatusOr<unetd_recipe> Backend::PackRecipe(const unetd_op_desc& desc, uint32_t weight) const {
  unetd_recipe recipe{};
  {
    std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Guarded("pack_recipe", [&](unetd_error* error) {
      return table_->pack_recipe(state_, &desc, weight, &recipe, error);
    }));
  }
  Tidy(recipe.name);
  if (recipe.name[0] == '\0' || recipe.bytes == 0) {
    return Internal(Subject(name_, "pack_recipe") + ": weight " + std::to_string(weight) +
                    " got a recipe without a name or without bytes");
  }
  return recipe;
}

Status Backend::Pack(const unetd_op_desc& desc, uint32_t weight, const unetd_recipe& recipe,
                     const unetd_weight& source, const unetd_gang* gang, void* packed) const {
  std::lock_guard lock(mutex_);
  return Guarded("pack", [&](unetd_error* error) {
    return table_->pack(state_, &desc, weight, &recipe, &source, gang, packed, error);
  });
}

StatusOr<Prepared> Backend::Prepare(const unetd_op_desc& desc) const {
  unetd_prepared raw{};
  {
    std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Guarded("prepare", [&](unetd_error* error) {
      return table_->prepare(state_, &desc, &raw, error);
    }));
  }
  Prepared prepared;
  prepared.backend_ = shared_from_this();
  prepared.handle_ = raw.handle;
  prepared.workspace_bytes_ = raw.workspace_bytes;
  prepared.thread_workspace_bytes_ = raw.thread_workspace_bytes;
  prepared.max_threads_ = raw.max_threads;
  prepared.description_ = PluginText(raw.description, sizeof(raw.description));
  return prepared;
}

StatusOr<void*> Backend::Allocate(uint64_t bytes) const {
  if (!owns_domain()) {
    return Status(Code::kFailedPrecondition, Subject(name_, "allocate") + ": it owns no domain");
  }
  if (bytes == 0) return static_cast<void*>(nullptr);
  void* address = nullptr;
  RETURN_IF_ERROR(Guarded("allocate", [&](unetd_error* error) {
    return table_->allocate(state_, bytes, &address, error);
  }));
  if (address == nullptr || reinterpret_cast<uintptr_t>(address) % kAlignment != 0) {
    if (address != nullptr) Free(address, bytes);
    return Internal(Subject(name_, "allocate") +
                    ": got an address that is null or not aligned to 64 bytes for " +
                    std::to_string(bytes) + " bytes");
  }
  return address;
}

void Backend::Free(void* address, uint64_t bytes) const {
  if (address == nullptr || !owns_domain()) return;
  const Status status = Guarded("free", [&](unetd_error*) {
    table_->free(state_, address, bytes);
    return UNETD_OK;
  });
  if (!status.ok()) host_.log(3, status.message().c_str());
}

Status Backend::Copy(void* dst, const void* src, uint64_t bytes, int32_t direction,
                     void* stream) const {
  if (!owns_domain()) {
    return {Code::kFailedPrecondition, Subject(name_, "copy") + ": it owns no domain"};
  }
  if (bytes == 0) return OkStatus();
  return Guarded("copy", [&](unetd_error* error) {
    return table_->copy(state_, dst, src, bytes, direction, stream, error);
  });
}

Prepared::Prepared(Prepared&& other) noexcept { *this = std::move(other); }

Prepared& Prepared::operator=(Prepared&& other) noexcept {
  if (this == &other) return *this;
  Release();
  backend_ = std::move(other.backend_);
  handle_ = std::exchange(other.handle_, nullptr);
  workspace_bytes_ = std::exchange(other.workspace_bytes_, 0);
  thread_workspace_bytes_ = std::exchange(other.thread_workspace_bytes_, 0);
  max_threads_ = std::exchange(other.max_threads_, 0);
  description_ = std::move(other.description_);
  return *this;
}

Prepared::~Prepared() { Release(); }

void Prepared::Release() noexcept {
  if (backend_ == nullptr) return;
  {
    std::lock_guard lock(backend_->mutex_);
    const Status status = backend_->Guarded("release", [&](unetd_error*) {
      backend_->table_->release(backend_->state_, handle_);
      return UNETD_OK;
    });
    if (!status.ok()) backend_->host_.log(3, status.message().c_str());
  }
  backend_.reset();
}

Status Prepared::Run(const unetd_exec& exec, const unetd_args& args) const {
  if (backend_ == nullptr) return Internal("run of an operator that was never prepared");
  return backend_->Guarded("run", [&](unetd_error* error) {
    return backend_->table_->run(backend_->state_, handle_, &exec, &args, error);
  });
}

}  // namespace unetd
