// How --help looks: options in groups, descriptions in lines that a terminal shows whole.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

namespace unetd::unetctl {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override;
  std::string make_footer(const CLI::App* app) const override;
};

// Puts the options that were added while it lives under a heading of their own.
class OptionGroup {
 public:
  OptionGroup(CLI::App* command, std::string heading);
  ~OptionGroup();
  OptionGroup(const OptionGroup&) = delete;
  OptionGroup& operator=(const OptionGroup&) = delete;

 private:
  CLI::App* command_;
  std::string heading_;
  size_t before_;  // options that were there
};

// Breaks lines at spaces, so that none is longer than `width` unless one word is.
std::string Wrapped(const std::string& text, size_t width);

}  // namespace unetd::unetctl
