// Typed reading of a JSON tree, with errors that name the JSON path, what was expected and what
// came.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"
#include "server/settings/json_tree.h"

namespace unetd {

// A value and where it stands. Borrows the tree.
class JsonValue {
 public:
  JsonValue(const JsonTree& node, std::string path) : node_(&node), path_(std::move(path)) {}

  const JsonTree& node() const { return *node_; }
  const std::string& path() const { return path_; }

  // "<path>: expected <what>, got <this value>".
  Status Expected(std::string_view what) const;
  // "<path>: <message>".
  Status Error(std::string_view message) const;

  StatusOr<std::string> Text() const;  // not empty, no NUL
  // 8.0 is an integer too, as in JSON Schema.
  StatusOr<int64_t> Integer(int64_t least, int64_t most) const;
  StatusOr<double> Number(double least, double most) const;
  // The index of the text in `choices`.
  StatusOr<size_t> Choice(std::initializer_list<std::string_view> choices) const;
  StatusOr<std::vector<JsonValue>> List() const;  // not empty

 private:
  std::string Got() const;

  const JsonTree* node_;
  std::string path_;
};

// An object of which every key is known.
class JsonObject {
 public:
  // With `keys` null, any key is known.
  static StatusOr<JsonObject> Open(const JsonValue& value,
                                   const std::vector<std::string_view>* keys);

  std::optional<JsonValue> Find(std::string_view key) const;
  StatusOr<JsonValue> Require(std::string_view key) const;
  std::vector<std::pair<std::string, JsonValue>> Items() const;  // in the order given

 private:
  explicit JsonObject(const JsonValue& value) : value_(value) {}
  JsonValue value_;
};

}  // namespace unetd
