#include "server/plan/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "server/base/cpu.h"

namespace unetd {

StatusOr<std::unique_ptr<Runner>> Runner::Create(std::shared_ptr<Backend> domain,
                                                 std::shared_ptr<Ledger> ledger, uint32_t threads,
                                                 LedgerOf ledger_of) {
  if (!domain->owns_domain()) {
    return InvalidArgument(fmt::format(
        "backend '{}' owns no memory domain: a model cannot live on it", domain->name()));
  }
  if (threads == 0) threads = domain->info().threads;
  if (threads == 0) threads = CpuCount();
  if (ledger_of == nullptr) {
    ledger_of = [limit = ledger->limit()](const std::string&) {
      return std::make_shared<Ledger>(limit);
    };
  }
  return std::unique_ptr<Runner>(new Runner(std::move(domain), std::move(ledger),
                                            std::make_unique<Gang>(threads), std::move(ledger_of)));
}

Runner::Runner(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger,
               std::unique_ptr<Gang> gang, LedgerOf ledger_of)
    : domain_(domain),
      gang_(std::move(gang)),
      ledger_of_(std::move(ledger_of)),
      arena_(std::move(domain), std::move(ledger)) {}

Status Runner::Admit(const Plan& plan, uint32_t rows) {
  std::lock_guard lock(mutex_);
  return Grow(plan, rows);
}

Status Runner::Grow(const Plan& plan, uint32_t rows) {
  RETURN_IF_ERROR(arena_.Grow(plan.ArenaBytes(rows, threads())));
  for (const ForeignDomain& domain : plan.foreign) {
    RETURN_IF_ERROR(ArenaIn(domain)
                        .Grow(domain.ArenaBytes(rows))
                        .WithContext(fmt::format("domain '{}': ", domain.backend->domain())));
  }
  return OkStatus();
}

uint32_t Runner::Room(const Plan& plan) {
  std::lock_guard lock(mutex_);
  return RoomOf(plan);
}

uint32_t Runner::RoomOf(const Plan& plan) {
  uint64_t room = std::numeric_limits<uint32_t>::max();
  const auto limit = [&](const Arena& arena, uint64_t fixed, uint64_t row) {
    if (row != 0) room = std::min(room, (std::max(arena.bytes(), fixed) - fixed) / row);
  };
  limit(arena_, plan.ArenaBytes(0, threads()), plan.arena_row_bytes);
  for (const ForeignDomain& domain : plan.foreign) {
    limit(ArenaIn(domain), domain.ArenaBytes(0), domain.arena_row_bytes);
  }
  return static_cast<uint32_t>(room);
}

Arena& Runner::ArenaIn(const ForeignDomain& domain) {
  std::unique_ptr<Arena>& arena = foreign_[domain.backend];
  if (arena == nullptr) {
    arena = std::make_unique<Arena>(domain.backend, ledger_of_(domain.backend->domain()));
  }
  return *arena;
}

Status Runner::Run(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                   const CancelFlag* cancel, std::span<OperatorTime> times) {
  const size_t operators = plan.sections[static_cast<int>(section)].size();
  if (operators == 0) return OkStatus();
  if (!times.empty() && times.size() != operators) {
    return Internal(
        fmt::format("times of {} operators for a section of {}", times.size(), operators));
  }
  std::lock_guard lock(mutex_);
  while (!rows.empty()) {
    const size_t room = RoomOf(plan);
    size_t part = 0;
    // Whole groups only: their rows may attend to one another.
    while (part < rows.size()) {
      size_t end = part;
      while (end < rows.size() && rows[end].group == rows[part].group) ++end;
      if (part != 0 && end > room) break;
      part = end;
    }
    RETURN_IF_ERROR(Grow(plan, static_cast<uint32_t>(part)));
    RETURN_IF_ERROR(RunPart(plan, section, rows.first(part), cancel, times));
    rows = rows.subspan(part);
  }
  return OkStatus();
}

Status Runner::RunPart(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                       const CancelFlag* cancel, std::span<OperatorTime> times) {
  using Clock = std::chrono::steady_clock;
  const size_t count = rows.size();
  addresses_.resize(count * UNETD_SPACE_COUNT);
  foreign_addresses_.resize(count);
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
    set(UNETD_SPACE_ARENA, arena_.data() + row * plan.arena_row_bytes);
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
  exec.workspace = arena_.data() + count * plan.arena_row_bytes;
  exec.thread_workspace = exec.workspace + plan.workspace_bytes;
  exec.thread_workspace_stride = plan.thread_workspace_bytes;
  static_assert(sizeof(CancelFlag) == sizeof(uint32_t));
  exec.cancel = reinterpret_cast<const volatile uint32_t*>(cancel);
  const std::vector<PlannedOp>& operators = plan.sections[static_cast<int>(section)];
  for (size_t i = 0; i < operators.size(); ++i) {
    const PlannedOp& op = operators[i];
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed) != 0)
      return Cancelled("cancelled while running");
    const Clock::time_point begin = times.empty() ? Clock::time_point() : Clock::now();
    if (Status status = RunOp(plan, op, exec); !status.ok()) {
      return status.WithContext(fmt::format("layer '{}', {}: ", op.layer, op.text));
    }
    if (times.empty()) continue;
    times[i].time += Clock::now() - begin;
    ++times[i].calls;
  }
  return OkStatus();
}

Status Runner::RunOp(const Plan& plan, const PlannedOp& op, unetd_exec exec) {
  if (op.domain == 0) return op.prepared.Run(exec, op.args);
  const ForeignDomain& domain = plan.foreign[op.domain - 1];
  uint8_t* const arena = ArenaIn(domain).data();
  for (uint32_t row = 0; row < exec.rows; ++row)
    foreign_addresses_[row] = arena + row * domain.arena_row_bytes;
  if (op.copy != 0) return Copy(domain, op, exec);
  for (auto& space : exec.spaces) space = nullptr;
  exec.spaces[UNETD_SPACE_ARENA] = foreign_addresses_.data();
  exec.gang = nullptr;
  exec.workspace = arena + exec.rows * domain.arena_row_bytes;
  exec.thread_workspace = nullptr;
  exec.thread_workspace_stride = 0;
  return op.prepared.Run(exec, op.args);
}

Status Runner::Copy(const ForeignDomain& domain, const PlannedOp& op, const unetd_exec& exec) {
  const unetd_operand& src = op.args.args[UNETD_ARG_SRC0];
  const unetd_operand& dst = op.args.args[UNETD_ARG_DST];
  const bool to = op.copy == UNETD_COPY_TO_DOMAIN;
  for (uint32_t row = 0; row < exec.rows; ++row) {
    uint8_t* const foreign = foreign_addresses_[row] + (to ? dst : src).offset;
    const unetd_operand& ours = to ? src : dst;
    uint8_t* const here = exec.spaces[ours.space][row] + ours.offset;
    RETURN_IF_ERROR(
        domain.backend->Copy(to ? foreign : here, to ? here : foreign, op.copy_bytes, op.copy));
  }
  return OkStatus();
}

}  // namespace unetd
