// Arena: one piece of a domain's memory that grows on demand, entered in the domain's ledger.
#pragma once

#include <memory>

#include "server/backend/backend.h"
#include "server/plan/ledger.h"

namespace unetd {

class Arena {
 public:
  Arena(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger)
      : domain_(std::move(domain)), ledger_(std::move(ledger)) {}
  ~Arena() { Free(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  const std::shared_ptr<Ledger>& ledger() const { return ledger_; }

  // At least `bytes`. What it held is lost. kResourceExhausted over the ledger's limit: then it is
  // as large as before.
  Status Grow(uint64_t bytes);

 private:
  Status Take(uint64_t bytes);
  void Free();

  std::shared_ptr<Backend> domain_;
  std::shared_ptr<Ledger> ledger_;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace unetd
