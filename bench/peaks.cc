// Prints, as JSON, what this machine can do at most with so many threads: multiply-adds in
// registers (the widest vectors it has) and reading of memory, in 1e9 a second.
//   bench_peaks [THREADS] [avx2]        avx2: as a CPU without AVX-512
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "bench/fma_peak.h"
#include "bench/spin_gang.h"

namespace {

using unetd::bench::SpinGang;

constexpr uint64_t kBytes = uint64_t{1} << 29;  // beyond any cache
constexpr int kTries = 6;

struct Stretch {
  const float* data;
  uint64_t each;  // floats a thread reads
  std::atomic<float> sink;
};

__attribute__((target("avx2"))) void Read(void* context, uint32_t task, uint32_t) {
  auto* stretch = static_cast<Stretch*>(context);
  const float* data = stretch->data + task * stretch->each;
  __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
  for (uint64_t i = 0; i + 32 <= stretch->each; i += 32) {
    a = _mm256_add_ps(a, _mm256_loadu_ps(data + i));
    b = _mm256_add_ps(b, _mm256_loadu_ps(data + i + 8));
    c = _mm256_add_ps(c, _mm256_loadu_ps(data + i + 16));
    d = _mm256_add_ps(d, _mm256_loadu_ps(data + i + 24));
  }
  float out[8];
  _mm256_storeu_ps(out, _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
  stretch->sink = out[0];
}

// By the wall's clock: threads that wait for memory are busy by their own.
double MeasureRead(SpinGang* gang) {
  const uint32_t threads = gang->abi()->threads;
  const uint64_t floats = kBytes / sizeof(float);
  const auto data = std::make_unique<float[]>(floats);  // zeros, every page touched
  Stretch stretch{data.get(), floats / threads, 0};
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    gang->Parallel(threads, Read, &stretch);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(kBytes) / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const bool capped = argc > 2 && std::strcmp(argv[2], "avx2") == 0;
  if (threads < 1 || threads > 256 || argc > 3 || (argc == 3 && !capped)) {
    std::fprintf(stderr, "usage: bench_peaks [THREADS, 1 to 256] [avx2]\n");
    return 2;
  }
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    std::fprintf(stderr, "bench_peaks: needs AVX2 and FMA\n");
    return 1;
  }
  SpinGang gang(static_cast<uint32_t>(threads));
  const bool wide = !capped && __builtin_cpu_supports("avx512f") != 0;
  const double fma = unetd::bench::MeasurePeak(&gang, wide);
  std::printf("{\"fma_gflops\": %.1f, \"read_gb_s\": %.1f}\n", fma, MeasureRead(&gang));
  return 0;
}
