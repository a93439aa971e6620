#include "server/settings/json_tree.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "server/base/text.h"

namespace unetd {
namespace {

struct Position {
  size_t line = 1;
  size_t column = 1;
};

Position PositionOf(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  Position position;
  position.line += static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t line_start = before.rfind('\n');
  position.column = before.size() - (line_start == before.npos ? 0 : line_start + 1);
  position.column = std::max<size_t>(position.column, 1);
  return position;
}

// What the parser says, without its decoration and without the text that it read, which may be
// anything.
std::string Reason(std::string_view what) {
  const size_t syntax = what.find("syntax error while parsing ");
  if (syntax == what.npos) return "not JSON";
  const size_t dash = what.find(" - ", syntax);
  if (dash == what.npos) return "not JSON";
  const std::string_view reason = what.substr(dash + 3);
  return std::string(reason.substr(0, reason.find("; last read")));
}

// Builds the tree as the parser meets it, knowing where it is.
class TreeBuilder {
 public:
  TreeBuilder(std::string_view text, JsonTree& root) : text_(text), root_(root) {}

  const std::string& error() const { return error_; }

  bool null() { return Put(nullptr); }
  bool boolean(bool value) { return Put(value); }
  bool number_integer(int64_t value) { return Put(value); }
  bool number_unsigned(uint64_t value) { return Put(value); }
  bool number_float(double value, const std::string&) { return Put(value); }
  bool string(std::string& value) { return Put(std::move(value)); }
  bool binary(std::vector<uint8_t>&) { return Fail("unexpected bytes"); }
  bool start_object(size_t) { return Open(JsonTree::object()); }
  bool start_array(size_t) { return Open(JsonTree::array()); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }

  bool key(std::string& name) {
    Level& level = open_.back();
    level.key = std::move(name);
    return level.keys.insert(level.key).second || Fail(Path() + ": the key is there twice");
  }

  bool parse_error(size_t byte, const std::string& token, const nlohmann::json::exception& error) {
    if (dynamic_cast<const nlohmann::json::out_of_range*>(&error) != nullptr) {
      return Fail(Format("{}: the number {} is too large", Path(), Quoted(token)));
    }
    const auto [line, column] = PositionOf(text_, byte);
    const std::string_view near = text_.substr(std::min(byte == 0 ? 0 : byte - 1, text_.size()));
    const bool comment = near.starts_with('/') || near.starts_with('#');
    return Fail(
        Format("line {}, column {}: {}, {}", line, column,
               comment ? "JSON has no comments" : Reason(error.what()),
               near.empty() ? "at the end" : "at " + Quoted(near.substr(0, near.find('\n')))));
  }

 private:
  struct Level {
    JsonTree* node;
    std::string key;  // being read
    std::set<std::string> keys;
  };

  bool Fail(std::string message) {
    error_ = std::move(message);
    return false;
  }

  // Of the value being read.
  std::string Path() const {
    std::string path;
    for (const Level& level : open_) {
      path =
          level.node->is_array() ? JoinPath(path, level.node->size()) : JoinPath(path, level.key);
      // A level below is already its parent's last element.
      if (&level != &open_.back() && level.node->is_array()) {
        path.resize(path.rfind('['));
        path = JoinPath(path, level.node->size() - 1);
      }
    }
    return path.empty() ? "the config" : path;
  }

  JsonTree* Insert(JsonTree value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = open_.back();
    if (level.node->is_array()) {
      level.node->push_back(std::move(value));
      return &level.node->back();
    }
    // The key is new: ordered_json would search all others for it.
    auto& object = level.node->get_ref<JsonTree::object_t&>();
    object.push_back({level.key, std::move(value)});
    return &object.back().second;
  }

  bool Put(JsonTree value) {
    Insert(std::move(value));
    return true;
  }

  bool Open(JsonTree value) {
    if (open_.size() == kMaxJsonDepth) {
      // The path itself would be a screenful.
      return Fail(Format("{}...: nested more than {} deep", Path().substr(0, kQuotedCharacters),
                         kMaxJsonDepth));
    }
    open_.push_back({Insert(std::move(value)), "", {}});
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::string_view text_;
  JsonTree& root_;
  std::vector<Level> open_;
  std::string error_;
};

}  // namespace

StatusOr<JsonTree> ParseJsonTree(std::string_view text) {
  if (text.size() > kMaxJsonBytes) {
    return InvalidArgument(
        Format("expected at most {}, got {}", HumanBytes(kMaxJsonBytes), HumanBytes(text.size())));
  }
  if (text.starts_with("\xEF\xBB\xBF")) {
    return InvalidArgument(
        "line 1, column 1: expected JSON, got a byte order mark: save the file as UTF-8 without "
        "one");
  }
  JsonTree root;
  TreeBuilder builder(text, root);
  if (!JsonTree::sax_parse(text.begin(), text.end(), &builder)) {
    return InvalidArgument(builder.error());
  }
  return root;
}

std::string JoinPath(const std::string& path, std::string_view key) {
  const bool plain =
      !key.empty() && key.size() <= kQuotedCharacters &&
      key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
          std::string_view::npos;
  if (!plain) return path + "[" + Quoted(key) + "]";
  return path.empty() ? std::string(key) : path + "." + std::string(key);
}

std::string JoinPath(const std::string& path, size_t index) {
  return Format("{}[{}]", path, index);
}

}  // namespace unetd
