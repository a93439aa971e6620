// Runs one operator of the cpu plugin as the host would: rows in slots of their own, a gang of
// threads, workspaces of exactly the size asked for (with guards behind them).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backends/api/unetd_backend.h"
#include "tests/cpu/values.h"

namespace unetd::test {

// The plugin opened with isa = "avx2", "avx512" or "avx512_bf16"; null if this CPU has it not.
class CpuBackend {
 public:
  explicit CpuBackend(const std::string& isa);
  ~CpuBackend();
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;

  bool ok() const { return state_ != nullptr; }
  const std::string& error() const { return error_; }
  const unetd_backend& table() const { return *table_; }
  void* state() const { return state_; }

 private:
  const unetd_backend* table_ = nullptr;
  void* state_ = nullptr;
  std::string error_;
};

// The instruction sets that this CPU has.
std::vector<std::string> Isas();
// Those that convolution, linear and attention have kernels for: "avx512_bf16" too.
std::vector<std::string> MatrixIsas();

// One argument of every row: values[row][token * channels + channel] as doubles.
struct Arg {
  unetd_view view{};
  std::vector<std::vector<double>> values;  // empty: an output
  uint64_t shift = 0;   // elements that the address is off the start of the buffer (odd addresses)
  int32_t inside = -1;  // lies in the memory of this argument (a fused buffer), `shift` elements in
};

struct Weight {
  std::vector<float> values;
  std::vector<uint64_t> dims;
  int32_t dtype = UNETD_DTYPE_F32;
};

struct Call {
  unetd_op_desc desc{};  // args are filled from `args`
  std::map<uint32_t, Arg> args;
  std::map<uint32_t, Weight> weights;
  uint32_t rows = 1;
  std::vector<uint32_t> group_first, group_size;  // empty: each row its own
  uint32_t threads = 1;
  bool reverse_slots = false;  // rows lie in memory in the opposite order
};

struct Outcome {
  int32_t code = UNETD_FAILED;
  std::string why;                        // the backend's words where code is not OK
  std::vector<std::vector<uint8_t>> raw;  // dst of each row, dense, as stored
  std::vector<std::vector<double>> values;
  uint64_t workspace_bytes = 0, thread_workspace_bytes = 0;
  std::string description;
  std::string damage;  // what was written outside dst and the workspaces; empty: nothing
};

// supports, pack, prepare, run, release.
Outcome RunOp(const CpuBackend& backend, const Call& call);

// The code and reason of `supports` alone.
Outcome Ask(const CpuBackend& backend, const Call& call);

}  // namespace unetd::test
