// A backend inside the test: answers as told and counts what is called.
#pragma once

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "backends/api/unetd_backend.h"

namespace unetd::test {

struct Recorder {
  // What the next calls answer, with `words`.
  int32_t code = UNETD_OK;
  std::string words;
  uint32_t owns_domain = 1;
  uint64_t misalign = 0;  // added to every address that allocate gives
  bool null_address = false;

  int opened = 0, closed = 0, prepared = 0, released = 0, allocated = 0, freed = 0;
  std::string options;  // "key=value;"
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
};

// One for the process: the ABI's open takes no context.
inline Recorder& TheRecorder() {
  static Recorder recorder;
  return recorder;
}

inline int32_t Say(unetd_error* error) {
  std::strncpy(error->text, TheRecorder().words.c_str(), sizeof(error->text) - 1);
  return TheRecorder().code;
}

// The ABI lets one thread at a time call these; being called by two is recorded.
class OneAtATime {
 public:
  OneAtATime() {
    if (TheRecorder().inside.fetch_add(1) != 0) TheRecorder().overlapped = true;
    // Others get their chance to come in.
    for (int i = 0; i < 4; ++i) {
      std::this_thread::yield();
      if (TheRecorder().inside.load() != 1) TheRecorder().overlapped = true;
    }
  }
  ~OneAtATime() { TheRecorder().inside.fetch_sub(1); }
};

inline const unetd_backend* RecorderTable() {
  static const unetd_backend table = [] {
    unetd_backend t{};
    t.struct_size = sizeof(t);
    t.abi_major = UNETD_ABI_MAJOR;
    t.abi_minor = UNETD_ABI_MINOR;
    t.name = "recorder";
    t.version = "1.0";
    t.open = [](const unetd_host*, const unetd_option* options, uint32_t count, void** state,
                unetd_error* error) -> int32_t {
      for (uint32_t i = 0; i < count; ++i) {
        TheRecorder().options += std::string(options[i].key) + "=" + options[i].value + ";";
      }
      *state = &TheRecorder();
      if (TheRecorder().code == UNETD_OK) ++TheRecorder().opened;
      return Say(error);
    };
    t.close = [](void*) { ++TheRecorder().closed; };
    t.describe = [](void*, unetd_backend_info* info, unetd_error*) -> int32_t {
      info->owns_domain = TheRecorder().owns_domain;
      std::strcpy(info->domain, "host");
      return UNETD_OK;
    };
    t.allocate = [](void*, uint64_t bytes, void** address, unetd_error* error) -> int32_t {
      ++TheRecorder().allocated;
      if (TheRecorder().code != UNETD_OK) return Say(error);
      if (!TheRecorder().null_address) {
        *address =
            static_cast<char*>(aligned_alloc(64, (bytes + 127) / 64 * 64)) + TheRecorder().misalign;
      }
      return UNETD_OK;
    };
    t.free = [](void*, void* address, uint64_t) {
      ++TheRecorder().freed;
      free(static_cast<char*>(address) - TheRecorder().misalign);
    };
    t.copy = [](void*, void* dst, const void* src, uint64_t bytes, int32_t, void*,
                unetd_error* error) -> int32_t {
      std::memcpy(dst, src, bytes);
      return Say(error);
    };
    t.supports = [](void*, const unetd_op_desc*, unetd_error* error) -> int32_t {
      const OneAtATime one;
      return Say(error);
    };
    t.pack_recipe = [](void*, const unetd_op_desc*, uint32_t weight, unetd_recipe* recipe,
                       unetd_error* error) -> int32_t {
      const OneAtATime one;
      if (weight == 0) std::strcpy(recipe->name, "panels");
      recipe->bytes = 128;
      return Say(error);
    };
    t.pack = [](void*, const unetd_op_desc*, uint32_t, const unetd_recipe*, const unetd_weight*,
                const unetd_gang*, void*, unetd_error* error) -> int32_t { return Say(error); };
    t.prepare = [](void*, const unetd_op_desc*, unetd_prepared* prepared,
                   unetd_error* error) -> int32_t {
      const OneAtATime one;
      if (TheRecorder().code != UNETD_OK) return Say(error);
      ++TheRecorder().prepared;
      prepared->workspace_bytes = 64;
      prepared->thread_workspace_bytes = 128;
      prepared->max_threads = 3;
      std::strcpy(prepared->description, "records");
      return UNETD_OK;
    };
    t.run = [](void*, const void*, const unetd_exec*, const unetd_args*,
               unetd_error* error) -> int32_t { return Say(error); };
    t.release = [](void*, void*) { ++TheRecorder().released; };
    return t;
  }();
  return &table;
}

}  // namespace unetd::test
