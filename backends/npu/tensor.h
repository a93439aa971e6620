// An aclTensor that is given back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "backends/npu/answer.h"
#include "backends/npu/device.h"

namespace unetd::npu {

class Tensor {
 public:
  explicit Tensor(const Device& device) : device_(device) {}
  ~Tensor() {
    if (tensor_ != nullptr) {
      device_.Warn("aclDestroyTensor", device_.cann().aclDestroyTensor(tensor_));
    }
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  // A view of `data` with these sizes and strides, in elements. `name` is for messages.
  template <size_t kRank>
  Answer Create(const char* name, aclDataType type, const int64_t (&dims)[kRank],
                const int64_t (&strides)[kRank], void* data) {
    int64_t storage = 1;  // elements from the first to the last
    for (size_t i = 0; i < kRank; ++i) storage += (dims[i] - 1) * strides[i];
    tensor_ = device_.cann().aclCreateTensor(dims, kRank, type, strides, 0, ACL_FORMAT_ND, &storage,
                                             1, data);
    if (tensor_ != nullptr) return Ok();
    const char* words = device_.cann().aclGetRecentErrMsg == nullptr
                            ? nullptr
                            : device_.cann().aclGetRecentErrMsg();
    return Failed(std::string("aclCreateTensor made no ") + name + ": " +
                  (words == nullptr ? "no reason given" : words));
  }
  const aclTensor* get() const { return tensor_; }

 private:
  const Device& device_;
  aclTensor* tensor_ = nullptr;
};

}  // namespace unetd::npu
