// OperatorRunner: packs, prepares and runs an OperatorCase on a backend, and watches what the
// kernel touches.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/backend/backend.h"
#include "tests/support/gang.h"
#include "tests/support/operator_case.h"

namespace unetd::test {

struct RunSetup {
  std::vector<uint32_t> rows = {};  // which of the case's rows make the batch, in order; empty: all
  std::vector<uint32_t> slots = {};  // where each of them lies; empty: in order
  uint32_t threads = 1;
  TaskOrder order = TaskOrder::kForward;
  bool cancelled = false;
};

struct RunResult {
  std::vector<std::vector<uint8_t>> bytes;  // dst of each row, dense
  std::vector<std::vector<float>> values;   // the same as numbers
};

// `dst` starts as NaN, workspaces are NaN, and every argument is fenced: Run answers kInternal
// where a kernel wrote outside dst's channels or into an input.
class OperatorRunner {
 public:
  // `domain` owns the memory of backend->domain(). kUnimplemented, with the backend's words, if it
  // refuses.
  static StatusOr<OperatorRunner> Create(std::shared_ptr<Backend> backend,
                                         std::shared_ptr<Backend> domain, const OperatorCase& test);
  StatusOr<RunResult> Run(const RunSetup& setup = {}) const;
  const Prepared& prepared() const { return prepared_; }

 private:
  // Where an argument lies in its space; bytes.
  struct Place {
    uint32_t space = 0;
    uint64_t offset = 0;
  };

  OperatorRunner() = default;
  Status PackAll();
  void LayOut();
  // A space's block of one row as it is before the run.
  std::vector<uint8_t> Image(uint32_t space, uint32_t row) const;

  std::shared_ptr<Backend> domain_;
  OperatorCase test_;
  Prepared prepared_;
  std::map<uint32_t, DeviceBuffer> packed_;
  std::map<uint32_t, Place> places_;
  uint64_t block_bytes_[UNETD_SPACE_COUNT] = {};
};

}  // namespace unetd::test
