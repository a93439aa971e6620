#include "server/serving/step_state.h"

#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "server/base/hash.h"
#include "server/base/text.h"
#include "server/serving/stage_inputs.h"
#include "server/tensor/convert.h"

namespace unetd {
namespace {

static_assert(std::endian::native == std::endian::little, "the header travels little-endian");

constexpr uint64_t kMagic = 0x31305453'44544E55;  // "UNTDST01": the format and its version
constexpr int kMaxTensors = 64;                   // as many as `present` has bits
constexpr uint64_t kMaxCounters = 64;
constexpr size_t kRank = 4;

// Follow: the counters, the checksum.
struct Header {
  uint64_t magic = kMagic;
  uint64_t scheduler = 0;
  int64_t steps = 0;
  int64_t next_step = 0;
  std::array<int64_t, kRank> sample_shape{};
  uint64_t tensors = 0;  // of the scheduler, those too that are not there yet
  uint64_t present = 0;  // a bit each: is it there, and so in the message?
  uint64_t counters = 0;
};
constexpr size_t kWord = sizeof(uint64_t);
static_assert(sizeof(Header) == 11 * kWord, "no padding");

uint64_t HeaderBytes(uint64_t counters) { return sizeof(Header) + (counters + 1) * kWord; }

Status Wrong(const std::string& what) { return InvalidArgument("state: " + what); }

// The header where its own sizes agree with what came.
StatusOr<Header> ReadHeader(const std::vector<TensorView>& state) {
  Header header;
  const TensorView& bytes = state.front();
  if (bytes.dtype != DType::kUInt8 || bytes.bytes < HeaderBytes(0)) {
    return Wrong(
        Format("expected the tensors that the step before returned, which begin with at "
               "least {} of UINT8, got {} {}",
               HeaderBytes(0), WireName(bytes.dtype), ShapeText(bytes.shape)));
  }
  std::memcpy(&header, bytes.data, sizeof(header));
  if (header.magic != kMagic) {
    return Wrong(
        "expected the tensors that the step before returned, got other bytes, or those of "
        "another version of the server");
  }
  if (header.counters > kMaxCounters || bytes.bytes != HeaderBytes(header.counters)) {
    return Wrong(
        Format("damaged: its header has {} bytes, which do not fit what it says", bytes.bytes));
  }
  const uint64_t beyond = header.tensors < kMaxTensors ? header.present >> header.tensors : 0;
  const auto present = static_cast<size_t>(std::popcount(header.present));
  if (header.tensors > kMaxTensors || beyond != 0 || state.size() != 1 + present) {
    return Wrong(Format("expected the {} tensors that its header counts, got {}", 1 + present,
                        state.size()));
  }
  return header;
}

std::string_view BytesOf(const TensorView& view) {
  return {static_cast<const char*>(view.data), view.bytes};
}

Status CheckSum(const std::vector<TensorView>& state) {
  std::string_view header = BytesOf(state.front());
  uint64_t expected = 0;
  std::memcpy(&expected, header.data() + header.size() - kWord, kWord);
  uint64_t sum = StableHash(header.substr(0, header.size() - kWord));
  for (size_t i = 1; i < state.size(); ++i) sum = StableHash(BytesOf(state[i]), sum);
  return sum == expected ? OkStatus() : Wrong("damaged: its checksum is another");
}

}  // namespace

StatusOr<std::vector<OutputTensor>> EncodeState(const StateOwner& owner, int64_t next_step,
                                                const SchedulerState& state) {
  if (state.tensors.size() > kMaxTensors || state.counters.size() > kMaxCounters) {
    return Internal(Format("a scheduler keeps {} tensors and {} counters", state.tensors.size(),
                           state.counters.size()));
  }
  Header header;
  header.scheduler = owner.scheduler;
  header.steps = owner.steps;
  header.next_step = next_step;
  std::copy_n(owner.sample_shape.begin(), kRank, header.sample_shape.begin());
  header.tensors = state.tensors.size();
  header.counters = state.counters.size();

  std::vector<OutputTensor> encoded(1);
  for (size_t i = 0; i < state.tensors.size(); ++i) {
    if (state.tensors[i].empty()) continue;
    header.present |= uint64_t{1} << i;
    ASSIGN_OR_RETURN(OutputTensor tensor, MakeOutput("state", DType::kFloat32, owner.sample_shape,
                                                     state.tensors[i].data()));
    encoded.push_back(std::move(tensor));
  }
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
  bytes.append(reinterpret_cast<const char*>(state.counters.data()), state.counters.size() * kWord);
  uint64_t sum = StableHash(bytes);
  for (size_t i = 1; i < encoded.size(); ++i) sum = StableHash(encoded[i].bytes, sum);
  bytes.append(reinterpret_cast<const char*>(&sum), kWord);
  encoded[0].name = "state";
  encoded[0].dtype = DType::kUInt8;
  encoded[0].shape = {static_cast<int64_t>(bytes.size())};
  encoded[0].bytes = std::move(bytes);
  return encoded;
}

std::optional<int64_t> ClaimedStep(const std::vector<TensorView>& state) {
  if (state.empty()) return std::nullopt;
  const auto header = ReadHeader(state);
  if (!header.ok()) return std::nullopt;
  return header->next_step;
}

Status CheckState(const StateOwner& owner, int64_t step, const std::vector<TensorView>& state,
                  uint64_t max_bytes) {
  if (step == 0) return Wrong("expected none for step 0, which begins a loop");
  ASSIGN_OR_RETURN(const Header header, ReadHeader(state));
  RETURN_IF_ERROR(CheckSum(state));
  if (header.scheduler != owner.scheduler) {
    return Wrong("it comes from another scheduler config than this request's");
  }
  if (header.steps != owner.steps) {
    return Wrong(
        Format("it comes from a loop of {} steps, and this one has {}", header.steps, owner.steps));
  }
  if (header.next_step != step) {
    return Wrong(Format("it is for step {}, and this one is {}", header.next_step, step));
  }
  const Shape shape(header.sample_shape.begin(), header.sample_shape.end());
  if (shape != owner.sample_shape) {
    return Wrong(Format("it comes from a sample {}, and this one is {}", ShapeText(shape),
                        ShapeText(owner.sample_shape)));
  }
  uint64_t bytes = 0;  // cannot overflow: they are there
  for (size_t i = 1; i < state.size(); ++i) {
    if (state[i].dtype != DType::kFloat32 || state[i].shape != shape) {
      return Wrong(Format("tensor {}: expected FP32 {}, got {} {}", i, ShapeText(shape),
                          WireName(state[i].dtype), ShapeText(state[i].shape)));
    }
    bytes += state[i].bytes;
  }
  if (bytes > max_bytes) {
    return Wrong(Format("it has {} bytes of tensors, and this scheduler keeps {} at most", bytes,
                        max_bytes));
  }
  return OkStatus();
}

StatusOr<SchedulerState> DecodeState(const std::vector<TensorView>& state) {
  ASSIGN_OR_RETURN(const Header header, ReadHeader(state));
  SchedulerState decoded;
  const char* at = BytesOf(state.front()).data() + sizeof(header);
  for (uint64_t i = 0; i < header.counters; ++i, at += kWord) {
    std::memcpy(&decoded.counters.emplace_back(), at, kWord);
  }
  decoded.tensors.resize(header.tensors);
  size_t next = 1;
  for (size_t i = 0; i < header.tensors; ++i) {
    if ((header.present >> i & 1) == 0) continue;
    decoded.tensors[i].resize(state[next].elements());
    RETURN_IF_ERROR(Convert(state[next], DType::kFloat32, decoded.tensors[i].data()));
    ++next;
  }
  return decoded;
}

}  // namespace unetd
