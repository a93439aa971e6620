#include "server/plan/arena.h"

namespace unetd {

Status Arena::Grow(uint64_t bytes) {
  if (bytes <= bytes_) return OkStatus();
  // The old memory holds nothing between two sections, so it goes first: the two never stand side
  // by side.
  const uint64_t old_bytes = bytes_;
  Free();
  Status status = Take(bytes);
  if (!status.ok() && old_bytes != 0) (void)Take(old_bytes);
  return status;
}

Status Arena::Take(uint64_t bytes) {
  RETURN_IF_ERROR(ledger_->Reserve(LedgerAccount::kArena, bytes, "the arena"));
  StatusOr<void*> memory = domain_->Allocate(bytes);
  if (!memory.ok()) {
    ledger_->Release(LedgerAccount::kArena, bytes);
    return memory.status();
  }
  data_ = static_cast<uint8_t*>(*memory);
  bytes_ = bytes;
  return OkStatus();
}

void Arena::Free() {
  domain_->Free(data_, bytes_);
  ledger_->Release(LedgerAccount::kArena, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace unetd
