// Tensors in host memory: dense, row-major. A view borrows, a Tensor owns.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "server/base/status.h"
#include "server/tensor/dtype.h"
#include "server/tensor/shape.h"

namespace unetd {

struct TensorView {
  DType dtype = DType::kFloat32;
  Shape shape;
  const void* data = nullptr;  // aligned to the dtype's size; may be null if bytes is 0
  uint64_t bytes = 0;          // CheckedBytes(shape, dtype)

  uint64_t elements() const { return bytes / DTypeSize(dtype); }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

// Owns 64-byte aligned memory. Movable, not copyable.
class Tensor {
 public:
  Tensor() = default;

  // Zeroed. INVALID_ARGUMENT for a bad shape, RESOURCE_EXHAUSTED if there is no memory.
  static StatusOr<Tensor> Allocate(DType dtype, Shape shape);
  static StatusOr<Tensor> CopyOf(const TensorView& source);

  DType dtype() const { return view_.dtype; }
  const Shape& shape() const { return view_.shape; }
  uint64_t bytes() const { return view_.bytes; }
  uint64_t elements() const { return view_.elements(); }
  void* data() { return memory_.get(); }
  const void* data() const { return memory_.get(); }
  template <typename T>
  T* as() {
    return static_cast<T*>(data());
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data());
  }

  // Valid while this tensor lives, wherever it is moved.
  const TensorView& View() const { return view_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  TensorView view_;
};

}  // namespace unetd
