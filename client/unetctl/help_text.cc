#include "client/unetctl/help_text.h"

#include <sstream>
#include <utility>

namespace unetd::unetctl {
namespace {

constexpr size_t kDescriptionWidth = 70;  // behind the 30 columns of the names

}  // namespace

std::string Wrapped(const std::string& text, size_t width) {
  std::istringstream words(text);
  std::string wrapped;
  std::string word;
  size_t line = 0;
  while (words >> word) {
    if (line > 0 && line + 1 + word.size() > width) {
      wrapped += '\n';
      line = 0;
    } else if (line > 0) {
      wrapped += ' ';
      ++line;
    }
    wrapped += word;
    line += word.size();
  }
  return wrapped;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return Wrapped(option->get_description(), kDescriptionWidth);
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  std::string footer = app->get_footer();
  if (app->get_parent() != nullptr) {
    footer += footer.empty() ? "" : "\n";
    footer += "With every command: -a HOST:PORT, --timeout S; unetctl --help tells of them.";
  }
  return "\n" + footer + "\n";
}

OptionGroup::OptionGroup(CLI::App* command, std::string heading)
    : command_(command), heading_(std::move(heading)), before_(command->get_options().size()) {}

OptionGroup::~OptionGroup() {
  const auto options = command_->get_options();
  for (size_t i = before_; i < options.size(); ++i) options[i]->group(heading_);
}

}  // namespace unetd::unetctl
