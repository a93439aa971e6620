#include "client/unetctl/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

constexpr int kBarCells = 30;
constexpr int64_t kPlainLines = 4;

}  // namespace

ProgressStyle ProgressOptions::Style() const {
  if (shown) return *shown ? ProgressStyle::kBar : ProgressStyle::kNone;
  return isatty(STDERR_FILENO) == 1 ? ProgressStyle::kBar : ProgressStyle::kLines;
}

void AddProgressFlags(CLI::App* command, ProgressOptions* options) {
  auto* bar = command->add_flag_callback(
      "--progress", [options] { options->shown = true; },
      "Draw a progress bar on stderr even if it is no terminal, where else a few lines tell");
  command
      ->add_flag_callback(
          "--no-progress", [options] { options->shown = false; }, "Tell no progress at all")
      ->excludes(bar);
}

std::string ClockText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) {
    return Format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return Format("{}:{:02}", whole / 60, whole % 60);
}

std::string ProgressText(const ProgressState& state, int bar_cells) {
  const auto [label, done, total, seconds, unit, note] = state;
  std::string bar;
  if (bar_cells > 0) {
    const auto full =
        static_cast<size_t>(total > 0 ? bar_cells * std::min(done, total) / total : 0);
    bar = " [" + std::string(full, '#') + std::string(static_cast<size_t>(bar_cells) - full, '-') +
          "]";
  }
  std::string text = Format("{} {} {}/{} {}", label, bar, done, total, unit);
  if (!note.empty()) {
    text += Format("  {}", note);
  } else if (done > 0 && seconds > 0) {
    const double rate = static_cast<double>(done) / seconds;
    const double left = static_cast<double>(std::max<int64_t>(total - done, 0)) / rate;
    text += Format("  {:.1f} it/s  {} left", rate, ClockText(left));
  }
  return text;
}

ProgressBar::ProgressBar(std::string label, int64_t total, std::FILE* out, ProgressStyle style,
                         std::string_view unit)
    : label_(std::move(label)), total_(total), out_(out), style_(style), unit_(unit) {}

ProgressBar::~ProgressBar() {
  if (open_) std::fputc('\n', out_);
  std::fflush(out_);
}

void ProgressBar::Start() {
  start_ = std::chrono::steady_clock::now();
  if (style_ == ProgressStyle::kBar) Draw();
}

void ProgressBar::Advance() {
  ++done_;
  Draw();
}

void ProgressBar::Set(int64_t done, std::string note) {
  done_ = done;
  note_ = std::move(note);
  Draw();
}

void ProgressBar::Draw() {
  if (style_ == ProgressStyle::kNone) return;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const ProgressState state = {label_, done_, total_, seconds, unit_, note_};
  if (style_ == ProgressStyle::kBar) {
    std::fprintf(out_, "\r%s\033[K", ProgressText(state, kBarCells).c_str());
    std::fflush(out_);
    open_ = true;
    return;
  }
  const int64_t quarter = total_ > 0 ? kPlainLines * done_ / total_ : 0;
  if (quarter == told_) return;
  told_ = quarter;
  std::fprintf(out_, "%s\n", ProgressText(state, 0).c_str());
}

}  // namespace unetd::unetctl
