// An emulator of the part of CANN that the npu backend calls, for machines without an Ascend
// device: what a test sees of it. The emulated libraries are libascendcl.so, libnnopbase.so and
// libopapi.so (and its variants) beside it; this is the library that they share.
//
// It is strict where CANN is lenient, so that a wrong use shows: host code cannot touch device
// memory, a stream works on a thread of its own after a delay, executors serve once, workspaces and
// outputs are poisoned before a kernel runs, and every handle and address is checked.
#pragma once

#include <cstdint>
#include <string>

namespace unetd::cann_emulator {

// What was made and not given back.
struct Leaks {
  int64_t devices = 0;  // set and not reset
  int64_t contexts = 0;
  int64_t streams = 0;
  int64_t buffers = 0;  // of device or page-locked memory
  int64_t tensors = 0;  // and integer arrays
  int64_t executors = 0;

  bool operator==(const Leaks&) const = default;
};
Leaks CountLeaks();

// From now on the n-th call that can fail does so, once; 0: none does. What gives something back
// (destroy, free, reset) does its work and then says that it failed.
void FailCall(uint64_t n);
// The function that FailCall made fail, "" if none yet.
std::string FailedCall();

// As if the machine had so many devices; 1 at first.
void SetDeviceCount(uint32_t count);
// Operators' first stages ask for so many more bytes than they need; 0 at first.
void SetExtraWorkspace(uint64_t bytes);
// The largest head_dim that FlashAttentionScore takes; 768 at first, 512 in older CANN.
void SetMostHeadDim(int64_t head_dim);
// While held, streams finish no task; who waits for one waits long, and then gets through.
void HoldStreams(bool hold);
// Operators that were run, ever.
uint64_t CountRuns();

}  // namespace unetd::cann_emulator
