#include "client/unetctl/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr int kBarCells = 30;
constexpr int64_t kPlainLines = 4;

}  // namespace

std::string ClockText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) {
    return Format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return Format("{}:{:02}", whole / 60, whole % 60);
}

std::string ProgressText(const std::string& label, int64_t done, int64_t total, double seconds,
                         int bar_cells) {
  std::string bar;
  if (bar_cells > 0) {
    const auto full =
        static_cast<size_t>(total > 0 ? bar_cells * std::min(done, total) / total : 0);
    bar = " [" + std::string(full, '#') + std::string(static_cast<size_t>(bar_cells) - full, '-') +
          "]";
  }
  std::string text = Format("{} {} {}/{} steps", label, bar, done, total);
  if (done > 0 && seconds > 0) {
    const double rate = static_cast<double>(done) / seconds;
    const double left = static_cast<double>(std::max<int64_t>(total - done, 0)) / rate;
    text += Format("  {:.1f} it/s  {} left", rate, ClockText(left));
  }
  return text;
}

ProgressBar::ProgressBar(std::string label, int64_t total, std::FILE* out, bool terminal)
    : label_(std::move(label)), total_(total), out_(out), terminal_(terminal) {}

ProgressBar::~ProgressBar() {
  if (open_) std::fputc('\n', out_);
  std::fflush(out_);
}

void ProgressBar::Start() {
  start_ = std::chrono::steady_clock::now();
  if (terminal_) Draw();
}

void ProgressBar::Advance() {
  ++done_;
  Draw();
}

void ProgressBar::Draw() {
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (terminal_) {
    const std::string text = ProgressText(label_, done_, total_, seconds, kBarCells);
    std::fprintf(out_, "\r%s\033[K", text.c_str());
    std::fflush(out_);
    open_ = true;
    return;
  }
  const int64_t quarter = total_ > 0 ? kPlainLines * done_ / total_ : 0;
  if (quarter == told_) return;
  told_ = quarter;
  std::fprintf(out_, "%s\n", ProgressText(label_, done_, total_, seconds, 0).c_str());
}

}  // namespace unetd::unetctl
