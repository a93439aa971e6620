#include "client/unetctl/profile_report.h"

#include <algorithm>
#include <map>
#include <vector>

#include "client/unetctl/failure.h"
#include "client/unetctl/table.h"
#include "server/base/text.h"

namespace unetd::unetctl {
namespace {

// A line of a table: one operator, or all of a kind or layer.
struct Line {
  std::vector<std::string> names;  // the cells that say what it is
  double ms = 0;
  double flops = 0;
  double bytes = 0;
  uint64_t calls = 0;

  void Add(const v1::OperatorTime& op) {
    ms += op.ms();
    flops += static_cast<double>(op.flops());
    bytes += static_cast<double>(op.bytes());
    calls += op.calls();
  }
};

using Operators = google::protobuf::RepeatedPtrField<v1::OperatorTime>;

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

// Of `amount` in 1e9 a second.
std::string Rate(double amount, double ms) {
  return amount > 0 && ms > 0 ? Format("{:.1f}", amount / ms * 1e-6) : "-";
}

std::string Mib(double bytes) { return Format("{:.2f}", bytes / (1 << 20)); }

std::string Share(double part, double whole) {
  return whole > 0 ? Format("{:.1f}%", part / whole * 100) : "-";
}

Line Sum(const Operators& operators) {
  Line sum;
  for (const v1::OperatorTime& op : operators) sum.Add(op);
  return sum;
}

// `name_of` says where an operator belongs.
template <typename NameOf>
std::vector<Line> Grouped(const Operators& operators, const NameOf& name_of) {
  std::map<std::string, Line> groups;
  for (const v1::OperatorTime& op : operators) {
    Line& line = groups[name_of(op)];
    line.names = {OrDash(name_of(op))};
    line.Add(op);
  }
  std::vector<Line> lines;
  for (auto& [name, line] : groups) lines.push_back(std::move(line));
  return lines;
}

void SlowestFirst(std::vector<Line>& lines) {
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.ms > b.ms; });
}

std::string OperatorsText(const Operators& operators, size_t top) {
  std::vector<Line> lines;
  for (const v1::OperatorTime& op : operators) {
    Line line;
    line.names = {OrDash(op.layer()), op.name(), op.backend(), OrDash(op.kernel())};
    line.Add(op);
    lines.push_back(std::move(line));
  }
  SlowestFirst(lines);
  const size_t shown = top == 0 ? lines.size() : std::min(top, lines.size());
  const double whole = Sum(operators).ms;
  Table table({{"ms", true},
               {"share", true},
               {"GFLOP/s", true},
               {"MiB", true},
               {"layer", false},
               {"operator", false},
               {"backend", false},
               {"kernel", false}});
  for (size_t i = 0; i < shown; ++i) {
    const Line& line = lines[i];
    std::vector<std::string> row = {Format("{:.3f}", line.ms), Share(line.ms, whole),
                                    Rate(line.flops, line.ms), Mib(line.bytes)};
    row.insert(row.end(), line.names.begin(), line.names.end());
    table.AddRow(std::move(row));
  }
  std::string text = table.Text();
  if (shown < lines.size()) {
    text += Format("the slowest {} of {} operators; --top 0 shows all\n", shown, lines.size());
  }
  return text;
}

std::string GroupsText(const char* title, std::vector<Line> lines, const Line& whole, size_t top) {
  SlowestFirst(lines);
  const size_t shown = top == 0 ? lines.size() : std::min(top, lines.size());
  Table table({{title, false},
               {"ms", true},
               {"share", true},
               {"GFLOP/s", true},
               {"GB/s", true},
               {"calls", true}});
  const auto add = [&](const std::string& name, const Line& line) {
    table.AddRow({name, Format("{:.3f}", line.ms), Share(line.ms, whole.ms),
                  Rate(line.flops, line.ms), Rate(line.bytes, line.ms), Format("{}", line.calls)});
  };
  for (size_t i = 0; i < shown; ++i) add(lines[i].names[0], lines[i]);
  add("all", whole);
  std::string text = table.Text();
  if (shown < lines.size()) {
    text += Format("the slowest {} of {} {}s; --top 0 shows all\n", shown, lines.size(), title);
  }
  return text;
}

std::string Heading(const v1::ProfileResponse& profile, const Line& whole) {
  std::string text =
      Format("model {}, variant {}: {} row{} of {}, {} thread{}, {}\n", Printable(profile.model()),
             Printable(profile.variant()), profile.rows(), profile.rows() == 1 ? "" : "s",
             Printable(profile.shape()), profile.threads(), profile.threads() == 1 ? "" : "s",
             Printable(profile.cpu()));
  text += Format(
      "forward {:.3f} ms, its operators together {:.3f} ms ({}): medians of {}; {:.1f} "
      "GFLOP, {} GFLOP/s\n",
      profile.forward_ms(), whole.ms, Share(whole.ms, profile.forward_ms()), profile.repeats(),
      whole.flops * 1e-9, Rate(whole.flops, profile.forward_ms()));
  return text;
}

}  // namespace

std::string ProfileText(const v1::ProfileResponse& profile, std::string_view by, size_t top) {
  const Operators& operators = profile.operators();
  const Line whole = Sum(operators);
  std::string text = Heading(profile, whole);
  if (by.empty() || by == "kind") {
    const auto kind = [](const v1::OperatorTime& op) { return op.kind(); };
    text += "\n" + GroupsText("kind", Grouped(operators, kind), whole, 0);
  }
  if (by == "layer") {
    const auto layer = [](const v1::OperatorTime& op) { return op.layer(); };
    text += "\n" + GroupsText("layer", Grouped(operators, layer), whole, top);
  }
  if (by.empty() || by == "operator") text += "\n" + OperatorsText(operators, top);
  return text;
}

}  // namespace unetd::unetctl
