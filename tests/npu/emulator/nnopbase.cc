// libnnopbase.so: tensors and executors.
#include "tests/npu/emulator/core.h"

namespace emulator = unetd::cann_emulator;
using emulator::Fails;
using emulator::kInjected;

extern "C" {

// Stricter than CANN: the data must lie on the device.
aclTensor* aclCreateTensor(const int64_t* view_dims, uint64_t view_dims_num, aclDataType data_type,
                           const int64_t* stride, int64_t offset, aclFormat format,
                           const int64_t* storage_dims, uint64_t storage_dims_num,
                           void* tensor_data) {
  if (Fails("aclCreateTensor")) return nullptr;
  if (view_dims == nullptr || stride == nullptr || storage_dims == nullptr ||
      storage_dims_num == 0 || view_dims_num == 0 || view_dims_num > 8 || offset < 0 ||
      format != ACL_FORMAT_ND) {
    emulator::Say(ACLNN_ERR_PARAM_INVALID, "aclCreateTensor: malformed");
    return nullptr;
  }
  int64_t last = offset;
  for (uint64_t i = 0; i < view_dims_num; ++i) {
    if (view_dims[i] < 0 || stride[i] < 0) {
      emulator::Say(ACLNN_ERR_PARAM_INVALID, "aclCreateTensor: a size or stride is negative");
      return nullptr;
    }
    last += (view_dims[i] - 1) * stride[i];
  }
  int64_t storage = 1;
  for (uint64_t i = 0; i < storage_dims_num; ++i) storage *= storage_dims[i];
  if (last >= storage) {
    emulator::Say(ACLNN_ERR_PARAM_INVALID, "aclCreateTensor: the view leaves its storage");
    return nullptr;
  }
  if (tensor_data != nullptr && emulator::DeviceBytes(tensor_data, 1) == nullptr) {
    emulator::Say(ACLNN_ERR_PARAM_INVALID, "aclCreateTensor: the data is not on the device");
    return nullptr;
  }
  return emulator::AddTensor({data_type,
                              {view_dims, view_dims + view_dims_num},
                              {stride, stride + view_dims_num},
                              offset,
                              tensor_data});
}

aclnnStatus aclDestroyTensor(const aclTensor* tensor) {
  const int status = emulator::RemoveTensor(tensor);
  return Fails("aclDestroyTensor") ? kInjected : status;
}

aclIntArray* aclCreateIntArray(const int64_t* values, uint64_t size) {
  if (Fails("aclCreateIntArray") || values == nullptr) return nullptr;
  return emulator::AddArray({{values, values + size}});
}

aclnnStatus aclDestroyIntArray(const aclIntArray* array) {
  const int status = emulator::RemoveArray(array);
  return Fails("aclDestroyIntArray") ? kInjected : status;
}

aclnnStatus aclSetAclOpExecutorRepeatable(aclOpExecutor* executor) {
  // An injected failure leaves the executor as it should be, so that destroying it still works.
  const int status = emulator::MakeRepeatable(executor);
  return Fails("aclSetAclOpExecutorRepeatable") ? kInjected : status;
}

aclnnStatus aclDestroyAclOpExecutor(aclOpExecutor* executor) {
  const int status = emulator::RemoveExecutor(executor);
  return Fails("aclDestroyAclOpExecutor") ? kInjected : status;
}

}  // extern "C"
