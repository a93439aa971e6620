// A backend that breaks the rule that no exception crosses the wall: every entry throws, from a
// library with hidden symbols of its own.
#include <cstring>
#include <new>
#include <stdexcept>

#include "backends/api/unetd_backend.h"

namespace {

int32_t Open(const unetd_host*, const unetd_option* options, uint32_t option_count, void** state,
             unetd_error*) {
  if (option_count != 0) throw std::runtime_error(options[0].key);
  *state = nullptr;
  return UNETD_OK;
}

void Close(void*) { throw std::runtime_error("thrown while closing"); }

int32_t Describe(void*, unetd_backend_info* info, unetd_error*) {
  info->owns_domain = 1;
  std::memcpy(info->domain, "thrown", 7);
  return UNETD_OK;
}

int32_t Allocate(void*, uint64_t, void**, unetd_error*) { throw std::bad_alloc(); }
void Free(void*, void*, uint64_t) { throw std::runtime_error("thrown while freeing"); }
int32_t Copy(void*, void*, const void*, uint64_t, int32_t, void*, unetd_error*) { throw 42; }

int32_t Supports(void*, const unetd_op_desc*, unetd_error*) {
  throw std::runtime_error("no\x01 manners");
}

int32_t PackRecipe(void*, const unetd_op_desc*, uint32_t, unetd_recipe*, unetd_error*) {
  throw std::runtime_error("thrown by pack_recipe");
}

int32_t Pack(void*, const unetd_op_desc*, uint32_t, const unetd_recipe*, const unetd_weight*,
             const unetd_gang*, void*, unetd_error*) {
  throw std::runtime_error("thrown by pack");
}

int32_t Prepare(void*, const unetd_op_desc* desc, unetd_prepared* prepared, unetd_error*) {
  if (desc->kind == UNETD_OP_CONV2D) throw std::runtime_error("thrown by prepare");
  prepared->handle = nullptr;
  return UNETD_OK;
}

int32_t Run(void*, const void*, const unetd_exec*, const unetd_args*, unetd_error*) {
  throw std::runtime_error("thrown by run");
}

void Release(void*, void*) { throw std::runtime_error("thrown while releasing"); }

}  // namespace

extern "C" UNETD_EXPORT const unetd_backend* unetd_backend_entry();
const unetd_backend* unetd_backend_entry() {
  static const unetd_backend table = [] {
    unetd_backend t{};
    t.struct_size = sizeof(t);
    t.abi_major = UNETD_ABI_MAJOR;
    t.abi_minor = UNETD_ABI_MINOR;
    t.name = "throwing";
    t.version = "1";
    t.open = Open;
    t.close = Close;
    t.describe = Describe;
    t.allocate = Allocate;
    t.free = Free;
    t.copy = Copy;
    t.supports = Supports;
    t.pack_recipe = PackRecipe;
    t.pack = Pack;
    t.prepare = Prepare;
    t.run = Run;
    t.release = Release;
    return t;
  }();
  return &table;
}
