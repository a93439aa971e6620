// Progress of one run on stderr: a bar on a terminal, a few plain lines elsewhere.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace unetd::unetctl {

enum class ProgressStyle { kBar, kLines, kNone };

struct ProgressOptions {
  std::optional<bool> shown;  // unsaid: a bar if stderr is a terminal, else lines

  ProgressStyle Style() const;
};

// Declares --progress and --no-progress.
void AddProgressFlags(CLI::App* command, ProgressOptions* options);

class ProgressBar {
 public:
  // `total`: units to come. Writes to `out`, which must outlive this.
  ProgressBar(std::string label, int64_t total, std::FILE* out, ProgressStyle style,
              std::string_view unit = "steps");
  ~ProgressBar();  // ends the bar's line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Start();    // the clock runs from here
  void Advance();  // one more unit is done
  void SetTotal(int64_t total) { total_ = total; }
  // So many are done; the note stands where else rate and time left do.
  void Set(int64_t done, std::string note);

 private:
  void Draw();

  std::string label_;
  int64_t total_;
  std::FILE* out_;
  ProgressStyle style_;
  std::string unit_;
  std::string note_;
  int64_t done_ = 0;
  int64_t told_ = 0;   // quarters that a plain line told
  bool open_ = false;  // a bar's line is not ended yet
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// "0:07", "12:34", "1:02:03"; negative or not finite: "?".
std::string ClockText(double seconds);

// What a progress line tells.
struct ProgressState {
  std::string_view label;
  int64_t done = 0;
  int64_t total = 0;
  double seconds = 0;  // since the start
  std::string_view unit = "steps";
  std::string_view note = "";  // instead of rate and time left
};

// "default  [#####-----] 13/25 steps  52.1 it/s  0:01 left", with a bar only if bar_cells > 0.
std::string ProgressText(const ProgressState& state, int bar_cells);

}  // namespace unetd::unetctl
