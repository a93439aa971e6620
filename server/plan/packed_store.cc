#include "server/plan/packed_store.h"

#include <fmt/format.h>

namespace unetd {

PackedWeight::~PackedWeight() { ledger_->Release(LedgerAccount::kWeights, buffer_.bytes()); }

StatusOr<std::shared_ptr<const PackedWeight>> PackedStore::Get(
    const Backend& backend, const unetd_op_desc& desc, uint32_t index, const WeightStore& store,
    const std::string& name, const unetd_gang* gang) {
  ASSIGN_OR_RETURN(const unetd_recipe recipe, backend.PackRecipe(desc, index));
  const std::string key =
      fmt::format("{}|{}|{}|{}", store.ContentId(name), backend.name(), recipe.name, recipe.bytes);
  std::lock_guard lock(mutex_);
  std::weak_ptr<const PackedWeight>& entry = entries_[key];
  if (std::shared_ptr<const PackedWeight> packed = entry.lock()) return packed;

  const TensorView* view = store.Find(name);
  if (view == nullptr || view->shape.size() > 4) {
    return InvalidArgument(fmt::format("tensor '{}': missing, or of more than 4 dimensions", name));
  }
  RETURN_IF_ERROR(
      ledger_->Reserve(LedgerAccount::kWeights, recipe.bytes, fmt::format("weight '{}'", name)));
  StatusOr<DeviceBuffer> buffer = DeviceBuffer::Create(domain_, recipe.bytes);
  if (!buffer.ok()) {
    ledger_->Release(LedgerAccount::kWeights, recipe.bytes);
    return buffer.status();
  }
  auto packed = std::make_shared<const PackedWeight>(ledger_, *std::move(buffer));
  unetd_weight source{
      view->data, static_cast<int32_t>(view->dtype), static_cast<uint32_t>(view->shape.size()), {}};
  for (size_t i = 0; i < view->shape.size(); ++i)
    source.dims[i] = static_cast<uint64_t>(view->shape[i]);
  // A linear may read a 1x1 convolution's [out, in, 1, 1], or a vector as the [out, 1] of one
  // input.
  if (desc.kind == UNETD_OP_LINEAR && index < desc.u.linear.segments) {
    source.rank = 2;
    source.dims[0] = desc.u.linear.segment_rows[index];
    source.dims[1] = view->elements() / source.dims[0];
  }
  // A file that was cut short since it was mapped would be a bus error in the middle of packing.
  RETURN_IF_ERROR(store.CheckUnchanged());
  RETURN_IF_ERROR(backend.Pack(desc, index, recipe, source, gang, packed->buffer())
                      .WithContext(fmt::format("tensor '{}': ", name)));
  store.DropPages(name);
  entry = packed;
  return packed;
}

}  // namespace unetd
