// Runner: one a domain. Owns the gang of threads (host) and the arena, and runs a plan's sections
// for rows.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "server/plan/gang.h"
#include "server/plan/ledger.h"
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

class Runner {
 public:
  // `threads` 0: what the backend's info asks for.
  static StatusOr<std::unique_ptr<Runner>> Create(std::shared_ptr<Backend> domain,
                                                  std::shared_ptr<Ledger> ledger,
                                                  uint32_t threads = 0);
  ~Runner();

  const std::shared_ptr<Backend>& domain() const { return domain_; }
  Ledger& ledger() { return *ledger_; }
  const unetd_gang* gang() const { return gang_->abi(); }
  uint32_t threads() const { return gang_->threads(); }

  // Makes the arena large enough for `rows` rows of `plan`; kResourceExhausted over the ledger's
  // limit.
  Status Admit(const Plan& plan, uint32_t rows);
  // Runs one section for `rows` (any number: in parts of the admitted rows). One caller at a time
  // is served, others wait. kCancelled at the next operator after `cancel` is set.
  Status Run(const Plan& plan, Section section, std::span<const RowBlocks> rows,
             const CancelFlag* cancel);

 private:
  Runner(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger,
         std::unique_ptr<Gang> gang);
  Status RunPart(const Plan& plan, Section section, std::span<const RowBlocks> rows,
                 const CancelFlag* cancel);
  Status Grow(uint64_t bytes);
  Status Take(uint64_t bytes);
  void FreeArena();

  std::shared_ptr<Backend> domain_;
  std::shared_ptr<Ledger> ledger_;
  std::unique_ptr<Gang> gang_;
  std::mutex mutex_;
  uint8_t* arena_ = nullptr;
  uint64_t arena_bytes_ = 0;
  std::vector<uint8_t*> addresses_;  // [space][row], kept so that running takes no memory
  std::vector<uint32_t> groups_;     // [first, size][row]
};

}  // namespace unetd
