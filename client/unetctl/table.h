// Text in columns.
#pragma once

#include <string>
#include <vector>

namespace unetd::unetctl {

class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;  // numbers are set to the right
  };

  explicit Table(std::vector<Column> columns);

  // Missing cells are empty, cells beyond the columns are dropped. Text from a server is made safe
  // to print.
  void AddRow(std::vector<std::string> cells);

  // With a line under the titles and a newline at the end. Empty columns (title and cells) keep
  // their title.
  std::string Text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters that a terminal shows for UTF-8 text, one cell each.
size_t DisplayWidth(const std::string& text);

}  // namespace unetd::unetctl
