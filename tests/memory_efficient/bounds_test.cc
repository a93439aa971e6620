// What a kernel reads: every argument ends right before a page that nobody may touch, at whatever
// address that gives, so that one byte too many kills the test. (Writes outside dst are seen by
// OperatorRunner in the other tests.)
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "tests/memory_efficient/efficient_case.h"

namespace unetd::test {
namespace {

// `bytes` that end at a page without access.
class Guarded {
 public:
  Guarded(const std::vector<uint8_t>& bytes, uint64_t alignment) {
    const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t room = (bytes.size() + alignment - 1) / alignment * alignment;
    length_ = (room + page - 1) / page * page + page;
    map_ = static_cast<uint8_t*>(
        mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(map_, MAP_FAILED);
    EXPECT_EQ(mprotect(map_ + length_ - page, page, PROT_NONE), 0);
    data_ = map_ + length_ - page - room;
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }
  ~Guarded() { munmap(map_, length_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* map_ = nullptr;
  uint8_t* data_ = nullptr;
  uint64_t length_ = 0;
};

// As it lies in memory, from the first element to the last.
std::vector<uint8_t> Laid(const unetd_view& view, const std::vector<uint8_t>& dense) {
  const uint64_t size = SizeOf(view.dtype), token = view.channels * size;
  std::vector<uint8_t> bytes((view.tokens - 1) * view.stride * size + token);
  for (uint64_t t = 0; t < view.tokens; ++t) {
    std::memcpy(&bytes[t * view.stride * size], &dense[t * token], token);
  }
  return bytes;
}

class Bounds : public MemoryEfficient {
 protected:
  // The first row's dst, dense.
  std::vector<uint8_t> RunGuarded(const OperatorCase& test) const {
    const auto prepared = backend_->Prepare(test.desc);
    EXPECT_TRUE(prepared.ok()) << prepared.status().message();
    unetd_exec exec{};
    exec.struct_size = sizeof(exec);
    exec.rows = 1;
    unetd_args args{};
    args.struct_size = sizeof(args);
    std::vector<std::unique_ptr<Guarded>> memory;
    uint8_t* addresses[UNETD_SPACE_COUNT] = {};
    uint32_t space = 0;
    for (uint32_t arg = 0; arg < UNETD_ARG_COUNT; ++arg) {
      const unetd_view& view = test.desc.args[arg];
      if (view.tokens == 0) continue;
      std::vector<uint8_t> dense(view.tokens * view.channels * SizeOf(view.dtype), 0xff);
      if (arg != UNETD_ARG_DST) dense = Encode(view.dtype, test.Input(arg, 0));
      memory.push_back(std::make_unique<Guarded>(Laid(view, dense), 1));
      addresses[space] = memory.back()->data();
      exec.spaces[space] = &addresses[space];
      args.args[arg] = {0, space++, 1};
    }
    const Guarded workspace(std::vector<uint8_t>(prepared->workspace_bytes(), 0xff), 64);
    const Guarded scratch(std::vector<uint8_t>(prepared->thread_workspace_bytes(), 0xff), 64);
    exec.workspace = workspace.data();
    exec.thread_workspace = scratch.data();
    exec.thread_workspace_stride = prepared->thread_workspace_bytes();
    const Status status = prepared->Run(exec, args);  // without a gang, on this thread
    EXPECT_TRUE(status.ok()) << status.message();
    const unetd_view& dst = test.desc.args[UNETD_ARG_DST];
    std::vector<uint8_t> bytes;
    for (uint64_t t = 0; t < dst.tokens; ++t) {
      const uint8_t* token =
          addresses[args.args[UNETD_ARG_DST].space] + t * dst.stride * SizeOf(dst.dtype);
      bytes.insert(bytes.end(), token, token + dst.channels * SizeOf(dst.dtype));
    }
    return bytes;
  }
};

TEST_P(Bounds, NothingIsReadBeyondAnArgument) {
  Random random(11);
  for (int i = 0; i < 120; ++i) {
    const auto upto = [&](uint64_t most) { return 1 + random.Next() % most; };
    Efficient e = {static_cast<uint32_t>(upto(3)),
                   static_cast<uint32_t>(upto(i % 10 == 0 ? 600 : 90)), upto(i % 2 == 0 ? 140 : 20),
                   upto(i % 3 == 0 ? 900 : 200)};
    e.op = i % 2 == 0 ? "" : "splitk";
    e.mask = static_cast<MaskKind>(random.Next() % 3);
    const int32_t dtypes[] = {UNETD_DTYPE_F32, UNETD_DTYPE_F16, UNETD_DTYPE_BF16};
    e.dtype = dtypes[random.Next() % 3];
    e.gap = random.Next() % 2 * 5;
    SCOPED_TRACE(Describe(e));
    const OperatorCase test = MakeCase(e);
    ASSERT_EQ(RunGuarded(test), Run(test).bytes[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Bounds, ::testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
