#include "server/plan/runner.h"

#include <fmt/format.h>

#include <algorithm>

#include "server/base/cpu.h"

namespace unetd {

StatusOr<std::unique_ptr<Runner>> Runner::Create(std::shared_ptr<Backend> domain,
                                                 std::shared_ptr<Ledger> ledger, uint32_t threads) {
  if (!domain->owns_domain()) {
    return InvalidArgument(fmt::format(
        "backend '{}' owns no memory domain: a model cannot live on it", domain->name()));
  }
  if (threads == 0) threads = domain->info().threads;
  if (threads == 0) threads = CpuCount();
  return std::unique_ptr<Runner>(
      new Runner(std::move(domain), std::move(ledger), std::make_unique<Gang>(threads)));
}

Runner::Runner(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger,
               std::unique_ptr<Gang> gang)
    : domain_(std::move(domain)), ledger_(std::move(ledger)), gang_(std::move(gang)) {}

Runner::~Runner() { FreeArena(); }

void Runner::FreeArena() {
  domain_->Free(arena_, arena_bytes_);
  ledger_->Release(LedgerAccount::kArena, arena_bytes_);
  arena_ = nullptr;
  arena_bytes_ = 0;
}

Status Runner::Admit(const Plan& plan, uint32_t rows) {
  std::lock_guard lock(mutex_);
  return Grow(plan.ArenaBytes(rows, threads()));
}

Status Runner::Grow(uint64_t bytes) {
  if (bytes <= arena_bytes_) return OkStatus();
  // The old arena holds nothing between two sections, so it goes first: the two never stand side by
  // side.
  const uint64_t old_bytes = arena_bytes_;
  FreeArena();
  Status status = Take(bytes);
  if (!status.ok() && old_bytes != 0) (void)Take(old_bytes);
  return status;
}

Status Runner::Take(uint64_t bytes) {
  RETURN_IF_ERROR(ledger_->Reserve(LedgerAccount::kArena, bytes, "the arena"));
  StatusOr<void*> memory = domain_->Allocate(bytes);
  if (!memory.ok()) {
    ledger_->Release(LedgerAccount::kArena, bytes);
    return memory.status();
  }
  arena_ = static_cast<uint8_t*>(*memory);
  arena_bytes_ = bytes;
  return OkStatus();
}

Status Runner::Run(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                   const CancelFlag* cancel) {
  if (plan.sections[static_cast<int>(section)].empty()) return OkStatus();
  std::lock_guard lock(mutex_);
  while (!rows.empty()) {
    const uint64_t fixed = plan.ArenaBytes(0, threads());
    const uint64_t free = arena_bytes_ > fixed ? arena_bytes_ - fixed : 0;
    const size_t fit = plan.arena_row_bytes ? free / plan.arena_row_bytes : rows.size();
    size_t part = 0;
    // Whole groups only: their rows may attend to one another.
    while (part < rows.size()) {
      size_t end = part;
      while (end < rows.size() && rows[end].group == rows[part].group) ++end;
      if (part != 0 && end > fit) break;
      part = end;
    }
    RETURN_IF_ERROR(Grow(plan.ArenaBytes(static_cast<uint32_t>(part), threads())));
    RETURN_IF_ERROR(RunPart(plan, section, rows.first(part), cancel));
    rows = rows.subspan(part);
  }
  return OkStatus();
}

Status Runner::RunPart(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                       const CancelFlag* cancel) {
  const size_t count = rows.size();
  addresses_.resize(count * UNETD_SPACE_COUNT);
  groups_.resize(count * 2);
  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = static_cast<uint32_t>(count);
  for (int space = 0; space < UNETD_SPACE_COUNT; ++space)
    exec.spaces[space] = addresses_.data() + space * count;
  exec.group_first = groups_.data();
  exec.group_size = groups_.data() + count;
  for (size_t row = 0; row < count; ++row) {
    const RowBlocks& blocks = rows[row];
    const auto set = [&](int space, uint8_t* address) {
      addresses_[space * count + row] = address;
    };
    set(UNETD_SPACE_ARENA, arena_ + row * plan.arena_row_bytes);
    set(UNETD_SPACE_INPUT, blocks.input);
    set(UNETD_SPACE_CONDITION, blocks.condition);
    set(UNETD_SPACE_SCHEDULE, blocks.schedule);
    set(UNETD_SPACE_TIME, blocks.time);
    set(UNETD_SPACE_OUTPUT, blocks.output);
    groups_[row] = row != 0 && blocks.group == rows[row - 1].group ? groups_[row - 1]
                                                                   : static_cast<uint32_t>(row);
  }
  for (size_t row = count; row-- > 0;) {
    const bool last = row + 1 == count || groups_[row + 1] != groups_[row];
    groups_[count + row] =
        last ? static_cast<uint32_t>(row) - groups_[row] + 1 : groups_[count + row + 1];
  }
  exec.gang = gang_->abi();
  exec.workspace = arena_ + count * plan.arena_row_bytes;
  exec.thread_workspace = exec.workspace + plan.workspace_bytes;
  exec.thread_workspace_stride = plan.thread_workspace_bytes;
  static_assert(sizeof(CancelFlag) == sizeof(uint32_t));
  exec.cancel = reinterpret_cast<const volatile uint32_t*>(cancel);
  for (const PlannedOp& op : plan.sections[static_cast<int>(section)]) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed) != 0)
      return Cancelled("cancelled while running");
    if (Status status = op.prepared.Run(exec, op.args); !status.ok()) {
      return status.WithContext(fmt::format("layer '{}', {}: ", op.layer, op.text));
    }
  }
  return OkStatus();
}

}  // namespace unetd
