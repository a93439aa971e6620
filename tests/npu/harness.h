// Runs attention on the npu backend over the emulated CANN, and on the reference provider.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/backend/backend.h"
#include "tests/npu/emulator/emulator.h"
#include "tests/support/operator_run.h"

namespace unetd::test {

inline constexpr int32_t kF16 = UNETD_DTYPE_F16;
inline constexpr int32_t kBF16 = UNETD_DTYPE_BF16;

// The folder of an emulated CANN: "full", "prompt" or "split".
std::string CannFolder(const std::string& variant);
std::string NpuPlugin();  // npu.so
// Forgets the environment's CANN, then opens the plugin on `variant`'s.
StatusOr<std::shared_ptr<Backend>> OpenNpu(
    const std::string& variant = "full",
    std::vector<std::pair<std::string, std::string>> options = {}, HostLog log = nullptr);
void ClearCannEnvironment();

enum class Mask { kNone, kShared, kEach };

struct AttentionCase {
  std::string name = "plain";
  uint32_t queries = 16, keys = 16, heads = 2, head_dim = 40;
  int32_t dtype = kF16;
  Mask mask = Mask::kNone;
  uint64_t gap = 0;  // elements between tokens, of the mask's too
  float scale = 0;   // 0: 1 / sqrt(head_dim)
  uint32_t rows = 2;
};

// As the npu backend takes it, with a bool mask.
unetd_op_desc Descriptor(const AttentionCase& test);
// The same for the reference provider: float32 with an additive mask, inputs rounded to the case's
// dtype, and what a right result may differ by.
OperatorCase ReferenceCase(const AttentionCase& test);
RunResult RunReference(const AttentionCase& test);

// One row's arguments and its result in the backend's memory.
class NpuRun {
 public:
  // Prepares and copies every row in.
  static StatusOr<NpuRun> Create(const std::shared_ptr<Backend>& backend,
                                 const AttentionCase& test);
  // Enqueues; `cancel` and `stream` are unetd_exec's.
  Status Enqueue(const uint32_t* cancel = nullptr, void* stream = nullptr) const;
  // Copies out. kInternal if anything between dst's tokens was written.
  StatusOr<RunResult> Result() const;
  uint8_t* DstAddress(uint32_t row) const { return blocks_[row].data() + offsets_[UNETD_ARG_DST]; }

 private:
  NpuRun() = default;

  std::shared_ptr<Backend> backend_;
  AttentionCase test_;
  unetd_op_desc desc_{};
  Prepared prepared_;
  DeviceBuffer workspace_;
  std::vector<DeviceBuffer> blocks_;  // of each row, all its arguments
  uint64_t offsets_[UNETD_ARG_COUNT] = {};
};

// Create, Enqueue and Result.
StatusOr<RunResult> RunNpu(const std::shared_ptr<Backend>& backend, const AttentionCase& test);
// Fails the test if the backend's result is not the reference's.
void ExpectReference(const std::shared_ptr<Backend>& backend, const AttentionCase& test);

// No device, context, stream, buffer, tensor or executor is left.
void ExpectNoLeaks();

}  // namespace unetd::test
