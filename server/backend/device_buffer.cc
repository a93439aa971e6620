#include "server/backend/backend.h"

namespace unetd {

StatusOr<DeviceBuffer> DeviceBuffer::Create(std::shared_ptr<const Backend> backend,
                                            uint64_t bytes) {
  DeviceBuffer buffer;
  ASSIGN_OR_RETURN(buffer.address_, backend->Allocate(bytes));
  buffer.bytes_ = bytes;
  buffer.backend_ = std::move(backend);
  return buffer;
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  if (this == &other) return *this;
  if (backend_ != nullptr) backend_->Free(address_, bytes_);
  backend_ = std::move(other.backend_);
  address_ = std::exchange(other.address_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (backend_ != nullptr) backend_->Free(address_, bytes_);
}

}  // namespace unetd
