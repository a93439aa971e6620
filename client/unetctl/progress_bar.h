// Progress of one denoising run on stderr: a bar on a terminal, a few plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdio>
#include <string>

namespace unetd::unetctl {

class ProgressBar {
 public:
  // `total`: steps to come. `terminal`: draw a bar in place. Writes to `out`, which must outlive
  // this.
  ProgressBar(std::string label, int64_t total, std::FILE* out, bool terminal);
  ~ProgressBar();  // ends the bar's line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Start();    // the clock runs from here
  void Advance();  // one more step is done

 private:
  void Draw();

  std::string label_;
  int64_t total_;
  std::FILE* out_;
  bool terminal_;
  int64_t done_ = 0;
  int64_t told_ = 0;   // quarters that a plain line told
  bool open_ = false;  // a bar's line is not ended yet
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// "0:07", "12:34", "1:02:03"; negative or not finite: "?".
std::string ClockText(double seconds);

// "default  [#####-----] 13/25 steps  52.1 it/s  0:01 left", with a bar only if bar_cells > 0.
std::string ProgressText(const std::string& label, int64_t done, int64_t total, double seconds,
                         int bar_cells);

}  // namespace unetd::unetctl
