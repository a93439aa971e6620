#include "tests/support/operator_run.h"

#include <cstring>

#include "server/base/text.h"

namespace unetd::test {
namespace {

constexpr uint64_t kFence = 64;
constexpr uint8_t kFenceByte = 0xa5;
constexpr uint8_t kPoison = 0xff;  // a NaN in every float dtype

uint64_t RoundUp(uint64_t bytes) { return (bytes + 63) / 64 * 64; }

// Element `channel` of `token`; planar views have stride 0.
uint64_t IndexOf(const unetd_view& view, uint64_t token, uint64_t channel) {
  return view.stride == 0 ? channel * view.tokens + token : token * view.stride + channel;
}

uint64_t SpanElements(const unetd_view& view) {
  return view.stride == 0 ? view.tokens * view.channels
                          : (view.tokens - 1) * view.stride + view.channels;
}

uint32_t SpaceOf(uint32_t arg) {
  switch (arg) {
    case UNETD_ARG_KEY:
    case UNETD_ARG_VALUE:
      return UNETD_SPACE_CONDITION;
    case UNETD_ARG_MASK:
      return UNETD_SPACE_INPUT;
    case UNETD_ARG_ROW_BIAS:
      return UNETD_SPACE_SCHEDULE;
    default:
      return UNETD_SPACE_ARENA;
  }
}

// NaN, then a fence.
StatusOr<DeviceBuffer> FencedWorkspace(const std::shared_ptr<Backend>& domain, uint64_t bytes) {
  ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Create(domain, bytes + kFence));
  std::vector<uint8_t> image(bytes, kPoison);
  image.resize(bytes + kFence, kFenceByte);
  RETURN_IF_ERROR(domain->Copy(buffer.data(), image.data(), image.size(), UNETD_COPY_TO_DOMAIN));
  return buffer;
}

Status CheckFence(const Backend& domain, const DeviceBuffer& buffer) {
  std::vector<uint8_t> fence(kFence);
  RETURN_IF_ERROR(domain.Copy(fence.data(), buffer.data() + buffer.bytes() - kFence, kFence,
                              UNETD_COPY_FROM_DOMAIN));
  for (uint8_t byte : fence) {
    if (byte != kFenceByte) return Internal("the kernel wrote beyond the bytes that it asked for");
  }
  return OkStatus();
}

}  // namespace

StatusOr<OperatorRunner> OperatorRunner::Create(std::shared_ptr<Backend> backend,
                                                std::shared_ptr<Backend> domain,
                                                const OperatorCase& test) {
  OperatorRunner runner;
  runner.domain_ = std::move(domain);
  runner.test_ = test;
  RETURN_IF_ERROR(backend->Supports(test.desc));
  ASSIGN_OR_RETURN(runner.prepared_, backend->Prepare(test.desc));
  RETURN_IF_ERROR(runner.PackAll());
  runner.LayOut();
  return runner;
}

Status OperatorRunner::PackAll() {
  const Backend& backend = *prepared_.backend();
  TestGang gang(2);
  for (const auto& [index, weight] : test_.weights) {
    ASSIGN_OR_RETURN(const unetd_recipe recipe, backend.PackRecipe(test_.desc, index));
    ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Create(domain_, recipe.bytes));
    const std::vector<uint8_t> data =
        Encode(weight.checkpoint, weight.Values(index, test_.desc.weight_dtype));
    unetd_weight source{
        data.data(), weight.checkpoint, static_cast<uint32_t>(weight.dims.size()), {}};
    for (size_t i = 0; i < weight.dims.size(); ++i) source.dims[i] = weight.dims[i];
    RETURN_IF_ERROR(backend.Pack(test_.desc, index, recipe, source, gang.abi(), buffer.data()));
    packed_.emplace(index, std::move(buffer));
  }
  return OkStatus();
}

void OperatorRunner::LayOut() {
  for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
    const unetd_view& view = test_.desc.args[arg];
    if (view.tokens == 0) continue;
    const auto shift = test_.shift.find(arg);
    const uint64_t shift_bytes =
        shift == test_.shift.end() ? 0 : shift->second * SizeOf(view.dtype);
    uint64_t& end = block_bytes_[SpaceOf(arg)];
    places_[arg] = {SpaceOf(arg), end + kFence + shift_bytes};
    end = RoundUp(end + kFence + shift_bytes + SpanElements(view) * SizeOf(view.dtype) + kFence);
  }
}

std::vector<uint8_t> OperatorRunner::Image(uint32_t space, uint32_t row) const {
  std::vector<uint8_t> image(block_bytes_[space], kFenceByte);
  for (const auto& [arg, place] : places_) {
    if (place.space != space) continue;
    const unetd_view& view = test_.desc.args[arg];
    const uint64_t size = SizeOf(view.dtype);
    std::vector<uint8_t> dense(view.tokens * view.channels * size, kPoison);
    if (arg != UNETD_ARG_DST) dense = Encode(view.dtype, test_.Input(arg, row));
    for (uint64_t t = 0; t < view.tokens; ++t) {
      for (uint64_t c = 0; c < view.channels; ++c) {
        std::memcpy(&image[place.offset + IndexOf(view, t, c) * size],
                    &dense[(t * view.channels + c) * size], size);
      }
    }
  }
  return image;
}

StatusOr<RunResult> OperatorRunner::Run(const RunSetup& setup) const {
  std::vector<uint32_t> rows = setup.rows;
  for (uint32_t row = 0; setup.rows.empty() && row < test_.rows; ++row) rows.push_back(row);
  std::vector<uint32_t> slots = setup.slots;
  for (uint32_t i = 0; setup.slots.empty() && i < rows.size(); ++i) slots.push_back(i);
  uint32_t slot_count = 0;
  for (uint32_t slot : slots) slot_count = std::max(slot_count, slot + 1);

  unetd_exec exec{};
  exec.struct_size = sizeof(exec);
  exec.rows = static_cast<uint32_t>(rows.size());
  DeviceBuffer blocks[UNETD_SPACE_COUNT];
  std::vector<uint8_t*> addresses[UNETD_SPACE_COUNT];
  for (uint32_t space = 0; space < UNETD_SPACE_COUNT; ++space) {
    if (block_bytes_[space] == 0) continue;
    ASSIGN_OR_RETURN(blocks[space],
                     DeviceBuffer::Create(domain_, block_bytes_[space] * slot_count));
    for (size_t i = 0; i < rows.size(); ++i) {
      uint8_t* address = blocks[space].data() + slots[i] * block_bytes_[space];
      const std::vector<uint8_t> image = Image(space, rows[i]);
      RETURN_IF_ERROR(domain_->Copy(address, image.data(), image.size(), UNETD_COPY_TO_DOMAIN));
      addresses[space].push_back(address);
    }
    exec.spaces[space] = addresses[space].data();
  }

  unetd_args args{};
  args.struct_size = sizeof(args);
  for (const auto& [arg, place] : places_) args.args[arg] = {place.offset, place.space, 1};
  for (const auto& [index, buffer] : packed_) {
    args.weights[index] = buffer.data();
    args.weight_count = std::max(args.weight_count, index + 1);
  }

  std::vector<uint32_t> first, size;
  for (uint32_t i = 0; i < rows.size(); ++i) {
    first.push_back(i / test_.group * test_.group);
    size.push_back(test_.group);
  }
  const TestGang gang(setup.threads, setup.order);
  const uint32_t cancel = setup.cancelled ? 1 : 0;
  const uint64_t stride = RoundUp(prepared_.thread_workspace_bytes());
  ASSIGN_OR_RETURN(const DeviceBuffer workspace,
                   FencedWorkspace(domain_, prepared_.workspace_bytes()));
  ASSIGN_OR_RETURN(const DeviceBuffer thread_workspace,
                   FencedWorkspace(domain_, stride * setup.threads));
  exec.group_first = first.data();
  exec.group_size = size.data();
  exec.gang = gang.abi();
  exec.workspace = workspace.data();
  exec.thread_workspace = thread_workspace.data();
  exec.thread_workspace_stride = stride;
  exec.cancel = &cancel;
  RETURN_IF_ERROR(prepared_.Run(exec, args));
  RETURN_IF_ERROR(CheckFence(*domain_, workspace).WithContext("workspace: "));
  RETURN_IF_ERROR(CheckFence(*domain_, thread_workspace).WithContext("thread workspace: "));

  // Everything but dst's own elements must be as it was.
  RunResult result;
  const unetd_view& dst = test_.desc.args[UNETD_ARG_DST];
  const uint64_t dst_size = SizeOf(dst.dtype);
  for (uint32_t space = 0; space < UNETD_SPACE_COUNT; ++space) {
    for (size_t i = 0; i < addresses[space].size(); ++i) {
      const std::vector<uint8_t> before = Image(space, rows[i]);
      std::vector<uint8_t> after(before.size());
      RETURN_IF_ERROR(
          domain_->Copy(after.data(), addresses[space][i], after.size(), UNETD_COPY_FROM_DOMAIN));
      if (places_.at(UNETD_ARG_DST).space == space) {
        std::vector<uint8_t> dense;
        for (uint64_t t = 0; t < dst.tokens; ++t) {
          for (uint64_t c = 0; c < dst.channels; ++c) {
            uint8_t* element =
                &after[places_.at(UNETD_ARG_DST).offset + IndexOf(dst, t, c) * dst_size];
            dense.insert(dense.end(), element, element + dst_size);
            std::memset(element, kPoison, dst_size);
          }
        }
        result.values.push_back(Decode(dst.dtype, dense));
        result.bytes.push_back(std::move(dense));
      }
      if (after == before) continue;
      size_t at = 0;
      while (after[at] == before[at]) ++at;
      return Internal(Format("the kernel wrote outside dst: row {}, space {}, byte {} of {}", i,
                             space, at, after.size()));
    }
  }
  return result;
}

}  // namespace unetd::test
