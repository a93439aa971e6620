// Runner: one a domain. Owns the gang of threads (host) and the arena, and runs a plan's sections
// for rows. For plans with operators in other domains it holds an arena in each of those too.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "server/plan/arena.h"
#include "server/plan/gang.h"
#include "server/plan/plan.h"

namespace unetd {

// Where one row's blocks are. Those a section does not touch may be null.
struct RowBlocks {
  uint8_t* input = nullptr;      // Plan::input_row_bytes, 64-byte aligned as all of them
  uint8_t* condition = nullptr;  // Plan::condition_row_bytes
  uint8_t* schedule = nullptr;   // Plan::schedule_row_bytes: this row's, at this step
  uint8_t* time = nullptr;       // float32
  uint8_t* output = nullptr;     // Plan::output_row_bytes
  uint32_t group = 0;            // rows with one number are one request's, and are neighbours
};

// Set from any thread; read before every operator.
using CancelFlag = std::atomic<uint32_t>;

// What one operator took, summed over its calls.
struct OperatorTime {
  std::chrono::nanoseconds time{0};
  uint64_t calls = 0;
};

class Runner {
 public:
  // The ledger of a memory domain.
  using LedgerOf = std::function<std::shared_ptr<Ledger>(const std::string& domain)>;

  // `threads` 0: what the backend's info asks for. `ledger_of` is asked when a plan first works in
  // another domain; null: each gets one with the limit of `ledger`.
  static StatusOr<std::unique_ptr<Runner>> Create(std::shared_ptr<Backend> domain,
                                                  std::shared_ptr<Ledger> ledger,
                                                  uint32_t threads = 0, LedgerOf ledger_of = {});

  const std::shared_ptr<Backend>& domain() const { return domain_; }
  Ledger& ledger() { return *arena_.ledger(); }
  const unetd_gang* gang() const { return gang_->abi(); }
  uint32_t threads() const { return gang_->threads(); }

  // Makes the arenas large enough for `rows` rows of `plan`; kResourceExhausted over a ledger's
  // limit.
  Status Admit(const Plan& plan, uint32_t rows);
  // Rows of `plan` that the arenas hold as they are.
  uint32_t Room(const Plan& plan);
  // Runs one section for `rows` (any number: in parts of the admitted rows). One caller at a time
  // is served, others wait. kCancelled at the next operator after `cancel` is set.
  // `times`: empty, and no clock is read; or one for each operator of the section, which gets what
  // it took added (in a domain that works on after a call: until the call returned). The bits are
  // the same.
  Status Run(const Plan& plan, Section section, std::span<const RowBlocks> rows,
             const CancelFlag* cancel, std::span<OperatorTime> times = {});

 private:
  Runner(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger,
         std::unique_ptr<Gang> gang, LedgerOf ledger_of);
  Status Grow(const Plan& plan, uint32_t rows);
  uint32_t RoomOf(const Plan& plan);
  Status RunPart(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                 const CancelFlag* cancel, std::span<OperatorTime> times);
  Status RunOp(const Plan& plan, const PlannedOp& op, unetd_exec exec);
  Status Copy(const ForeignDomain& domain, const PlannedOp& op, const unetd_exec& exec);
  Arena& ArenaIn(const ForeignDomain& domain);

  std::shared_ptr<Backend> domain_;
  std::unique_ptr<Gang> gang_;
  LedgerOf ledger_of_;
  std::mutex mutex_;
  Arena arena_;
  std::map<std::shared_ptr<Backend>, std::unique_ptr<Arena>> foreign_;
  std::vector<uint8_t*> addresses_;          // [space][row], kept so that running takes no memory
  std::vector<uint8_t*> foreign_addresses_;  // [row], of the foreign arena of one operator
  std::vector<uint32_t> groups_;             // [first, size][row]
};

}  // namespace unetd
