// A scheduler's state as it comes back from a client: refused, or read as what it says.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "server/base/hash.h"
#include "server/serving/step_state.h"

namespace {

constexpr size_t kWord = sizeof(uint64_t);
constexpr float kValues[4] = {1, 2, 3, 4};

}  // namespace

// The first byte says how many tensors follow the header, and whether its checksum is put right: no
// fuzzer would find one. The rest is the header.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t tensors = data[0] % 8;
  const bool signs = data[0] >= 128;
  std::string header(reinterpret_cast<const char*>(data + 1), size - 1);
  if (signs && header.size() > kWord) {
    uint64_t sum = unetd::StableHash(std::string_view(header).substr(0, header.size() - kWord));
    for (size_t i = 0; i < tensors; ++i) {
      sum = unetd::StableHash({reinterpret_cast<const char*>(kValues), sizeof(kValues)}, sum);
    }
    std::memcpy(header.data() + header.size() - kWord, &sum, kWord);
  }
  std::vector<unetd::TensorView> state = {
      {unetd::DType::kUInt8, {static_cast<int64_t>(header.size())}, header.data(), header.size()}};
  for (size_t i = 0; i < tensors; ++i) {
    state.push_back({unetd::DType::kFloat32, {1, 1, 2, 2}, kValues, sizeof(kValues)});
  }
  const unetd::StateOwner owner{1, 4, {1, 1, 2, 2}};
  const auto step = unetd::ClaimedStep(state);
  if (!step || !unetd::CheckState(owner, *step, state, 4 * sizeof(kValues)).ok()) return 0;
  const auto decoded = unetd::DecodeState(state);
  if (!decoded.ok() || tensors > 4 || decoded->tensors.size() < tensors) std::abort();
  return 0;
}
