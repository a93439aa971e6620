#include "server/backend/reference.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "server/backend/reference_op.h"
#include "server/base/text.h"

namespace unetd {
namespace reference {
namespace {

constexpr uint64_t kAlignment = 64;

struct Operator {
  unetd_op_desc desc;
  const Kind* kind;
  uint64_t scratch_bytes;
};

int32_t OpenBackend(const unetd_host*, const unetd_option* options, uint32_t option_count,
                    void** state, unetd_error* error) {
  if (option_count != 0) {
    return Answer(error, UNETD_INVALID,
                  "option " + Quoted(options[0].key) + ": the reference provider takes none");
  }
  *state = nullptr;
  return UNETD_OK;
}

void CloseBackend(void*) {}

int32_t Describe(void*, unetd_backend_info* info, unetd_error*) {
  info->owns_domain = 1;
  info->threads = 0;
  info->batch_invariant = 1;
  std::snprintf(info->domain, sizeof(info->domain), "host");
  std::snprintf(info->device, sizeof(info->device),
                "plain loops, values in float32, sums in float64");
  return UNETD_OK;
}

int32_t Allocate(void*, uint64_t bytes, void** address, unetd_error* error) {
  if (bytes > UINT64_MAX - kAlignment) return Answer(error, UNETD_NO_MEMORY, "the size overflows");
  const uint64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  *address = std::aligned_alloc(kAlignment, rounded);
  if (*address == nullptr)
    return Answer(error, UNETD_NO_MEMORY, Format("no memory for {} bytes", bytes));
  return UNETD_OK;
}

void Free(void*, void* address, uint64_t) { std::free(address); }

int32_t Copy(void*, void* dst, const void* src, uint64_t bytes, int32_t direction, void*,
             unetd_error* error) {
  if (direction < UNETD_COPY_TO_DOMAIN || direction > UNETD_COPY_WITHIN) {
    return Answer(error, UNETD_INVALID, Format("copy direction {} is unknown", direction));
  }
  std::memmove(dst, src, bytes);
  return UNETD_OK;
}

int32_t Supports(void*, const unetd_op_desc* desc, unetd_error* why_not) {
  if (desc->struct_size < sizeof(unetd_op_desc)) {
    return Answer(
        why_not, UNETD_UNSUPPORTED,
        Format("a descriptor of {} bytes, expected {}", desc->struct_size, sizeof(unetd_op_desc)));
  }
  const Kind* kind = FindKind(desc->kind);
  if (kind == nullptr)
    return Answer(why_not, UNETD_UNSUPPORTED, Format("operator kind {} is unknown", desc->kind));
  std::string why = CheckViews(*desc, *kind);
  if (why.empty()) why = kind->check(*desc);
  return why.empty() ? UNETD_OK : Answer(why_not, UNETD_UNSUPPORTED, why);
}

int32_t PackRecipeEntry(void* state, const unetd_op_desc* desc, uint32_t weight,
                        unetd_recipe* recipe, unetd_error* error) {
  if (const int32_t result = Supports(state, desc, error); result != UNETD_OK) return result;
  return PackRecipe(*desc, *FindKind(desc->kind), weight, recipe, error);
}

int32_t PackEntry(void* state, const unetd_op_desc* desc, uint32_t weight,
                  const unetd_recipe* recipe, const unetd_weight* source, const unetd_gang*,
                  void* packed, unetd_error* error) {
  unetd_recipe expected;
  if (const int32_t result = PackRecipeEntry(state, desc, weight, &expected, error);
      result != UNETD_OK)
    return result;
  if (expected.bytes != recipe->bytes)
    return Answer(error, UNETD_INVALID, "the recipe is of another descriptor");
  return Pack(*desc, *FindKind(desc->kind), weight, *source, packed, error);
}

int32_t Prepare(void* state, const unetd_op_desc* desc, unetd_prepared* prepared,
                unetd_error* error) {
  if (const int32_t result = Supports(state, desc, error); result != UNETD_OK) return result;
  const Kind* kind = FindKind(desc->kind);
  // A multiple of the alignment, so that it serves as the threads' stride.
  const uint64_t bytes = (kind->scratch_bytes(*desc) + kAlignment - 1) / kAlignment * kAlignment;
  auto* op = new (std::nothrow) Operator{*desc, kind, bytes};
  if (op == nullptr) return Answer(error, UNETD_NO_MEMORY, "no memory for a prepared operator");
  prepared->handle = op;
  prepared->workspace_bytes = 0;
  prepared->thread_workspace_bytes = bytes;
  prepared->max_threads = 0;
  std::snprintf(prepared->description, sizeof(prepared->description), "reference %s", kind->name);
  return UNETD_OK;
}

void Release(void*, void* handle) { delete static_cast<Operator*>(handle); }

// Why `exec` and `args` break the contract, or null.
const char* CheckRun(const Operator& op, const unetd_exec& exec, const unetd_args& args) {
  if (exec.struct_size < sizeof(unetd_exec)) return "exec.struct_size is too small";
  if (args.struct_size < sizeof(unetd_args)) return "args.struct_size is too small";
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const unetd_operand& operand = args.args[arg];
    if ((operand.present != 0) != Has(op.desc, arg))
      return "an argument's presence differs from the descriptor's";
    if (operand.present == 0) continue;
    if (operand.space >= UNETD_SPACE_COUNT || exec.spaces[operand.space] == nullptr) {
      return "an argument lies in a space that is not given";
    }
  }
  for (uint32_t weight = 0; weight < UNETD_MAX_WEIGHTS; ++weight) {
    if (op.kind->weight(op.desc, weight).rank == 0) continue;
    if (weight >= args.weight_count || args.weights[weight] == nullptr)
      return "a packed weight is missing";
  }
  if (op.scratch_bytes != 0 && exec.thread_workspace == nullptr)
    return "the thread workspace is missing";
  const bool threaded = exec.gang != nullptr && exec.gang->threads > 1;
  if (threaded && exec.thread_workspace_stride % kAlignment != 0) {
    return "thread_workspace_stride is not a multiple of 64";
  }
  if (threaded && exec.thread_workspace_stride < op.scratch_bytes)
    return "thread_workspace_stride is too small";
  return nullptr;
}

struct Task {
  const Operator& op;
  const unetd_exec& exec;
  const unetd_args& args;
  std::atomic<bool> cancelled{false};
  std::atomic<const char*> failure{nullptr};
};

void RunRow(void* context, uint32_t row, uint32_t thread) {
  auto& task = *static_cast<Task*>(context);
  if (task.exec.cancel != nullptr && __atomic_load_n(task.exec.cancel, __ATOMIC_RELAXED) != 0) {
    task.cancelled = true;
    return;
  }
  uint8_t* scratch = task.exec.thread_workspace + thread * task.exec.thread_workspace_stride;
  const char* failure = task.op.kind->run({task.op.desc, task.exec, task.args, row, scratch});
  if (failure != nullptr) task.failure = failure;
}

int32_t Run(void*, const void* handle, const unetd_exec* exec, const unetd_args* args,
            unetd_error* error) {
  const auto& op = *static_cast<const Operator*>(handle);
  if (const char* why = CheckRun(op, *exec, *args)) return Answer(error, UNETD_INVALID, why);
  Task task{op, *exec, *args};
  if (exec->gang != nullptr && exec->gang->parallel != nullptr) {
    exec->gang->parallel(exec->gang->self, exec->rows, RunRow, &task);
  } else {
    for (uint32_t row = 0; row < exec->rows; ++row) RunRow(&task, row, 0);
  }
  if (const char* why = task.failure) return Answer(error, UNETD_INVALID, why);
  return task.cancelled ? Answer(error, UNETD_CANCELLED, "cancelled")
                        : static_cast<int32_t>(UNETD_OK);
}

constexpr unetd_backend kTable = {
    .struct_size = sizeof(unetd_backend),
    .abi_major = UNETD_ABI_MAJOR,
    .abi_minor = UNETD_ABI_MINOR,
    .name = "reference",
    .version = "1.0",
    .open = OpenBackend,
    .close = CloseBackend,
    .describe = Describe,
    .allocate = Allocate,
    .free = Free,
    .copy = Copy,
    .begin_capture = nullptr,
    .end_capture = nullptr,
    .replay = nullptr,
    .release_capture = nullptr,
    .supports = Supports,
    .pack_recipe = PackRecipeEntry,
    .pack = PackEntry,
    .prepare = Prepare,
    .run = Run,
    .release = Release,
};

}  // namespace
}  // namespace reference

const unetd_backend* ReferenceBackend() { return &reference::kTable; }

}  // namespace unetd
