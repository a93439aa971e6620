// PackedStore: weights in the layout that a backend's kernels want, owned by the host and shared by
// all plans and variants that ask for the same content by the same recipe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/backend/backend.h"
#include "server/plan/ledger.h"
#include "server/weights/weight_store.h"

namespace unetd {

class PackedWeight {
 public:
  // `buffer` was entered in the ledger as kWeights.
  PackedWeight(std::shared_ptr<Ledger> ledger, DeviceBuffer buffer)
      : ledger_(std::move(ledger)), buffer_(std::move(buffer)) {}
  ~PackedWeight();
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;

  const void* data() const { return buffer_.data(); }
  uint64_t bytes() const { return buffer_.bytes(); }

 private:
  friend class PackedStore;
  void* buffer() const { return buffer_.data(); }

  std::shared_ptr<Ledger> ledger_;
  DeviceBuffer buffer_;
};

class PackedStore {
 public:
  PackedStore(std::shared_ptr<Backend> domain, std::shared_ptr<Ledger> ledger)
      : domain_(std::move(domain)), ledger_(std::move(ledger)) {}

  // The packed form of `name` for weight `index` of `desc` on `backend`; packs it if nobody has
  // yet, and drops the checkpoint's mapped pages then.
  StatusOr<std::shared_ptr<const PackedWeight>> Get(const Backend& backend,
                                                    const unetd_op_desc& desc, uint32_t index,
                                                    const WeightStore& store,
                                                    const std::string& name,
                                                    const unetd_gang* gang);

 private:
  std::shared_ptr<Backend> domain_;
  std::shared_ptr<Ledger> ledger_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const PackedWeight>> entries_;
};

}  // namespace unetd
