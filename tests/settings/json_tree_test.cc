#include "server/settings/json_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace unetd {
namespace {

std::string RefusalOf(const std::string& text) {
  const auto tree = ParseJsonTree(text);
  EXPECT_FALSE(tree.ok()) << text.substr(0, 100);
  EXPECT_EQ(tree.status().code(), Code::kInvalidArgument);
  return tree.status().message();
}

void ExpectBegins(const std::string& text, const std::string& start) {
  EXPECT_TRUE(text.starts_with(start)) << text << "\nexpected to begin with " << start;
}

TEST(ParseJsonTree, KeepsTheOrderOfKeys) {
  const auto tree = ParseJsonTree(R"( {"z": 1, "a": [true, null, "x", -2, 1.5], "m": {}} )");
  ASSERT_TRUE(tree.ok()) << tree.status().message();
  EXPECT_EQ(tree->dump(), R"({"z":1,"a":[true,null,"x",-2,1.5],"m":{}})");
}

TEST(ParseJsonTree, SaysLineAndColumn) {
  ExpectBegins(RefusalOf(""), "line 1, column 1: ");
  ExpectBegins(RefusalOf("{\n  \"a\": 1,\n  \"b\" 2\n}"), "line 3, column 7: ");
  ExpectBegins(RefusalOf("{\"a\": 1,}"), "line 1, column 9: ");
  ExpectBegins(RefusalOf("{} {}"), "line 1, column 4: ");
  ExpectBegins(RefusalOf("{\"a\": 01}"), "line 1, column 8: ");
  ExpectBegins(RefusalOf("{\"a\": NaN}"), "line 1, column 7: ");
  ExpectBegins(RefusalOf("{'a': 1}"), "line 1, column 2: ");
}

TEST(ParseJsonTree, RefusesCommentsBomAndInvalidUtf8) {
  const std::string comment = RefusalOf("{\n// a comment\n}");
  EXPECT_NE(comment.find("JSON has no comments"), std::string::npos) << comment;
  EXPECT_NE(RefusalOf("{\"a\": 1 /* x */}").find("no comments"), std::string::npos);
  EXPECT_NE(RefusalOf("\xEF\xBB\xBF{}").find("byte order mark"), std::string::npos);
  EXPECT_NE(RefusalOf("{\"\xff\": 1}").find("UTF-8"), std::string::npos);
  EXPECT_NE(RefusalOf("{\"a\": \"\xc0\xaf\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(RefusalOf("{\"a\": \"\\ud800\"}").find("U+D800"), std::string::npos);
  EXPECT_TRUE(ParseJsonTree("{\"//\": \"# no comment\"}").ok());
}

TEST(ParseJsonTree, EveryKeyOnce) {
  ExpectBegins(RefusalOf(R"({"a":1,"a":1})"), "a: the key is there twice");
  ExpectBegins(RefusalOf(R"({"m":[{},{"v":[1,{"w":0,"w":0}]}]})"),
               "m[1].v[1].w: the key is there twice");
  EXPECT_TRUE(ParseJsonTree(R"([{"a":1},{"a":1},{"b":{"a":1},"a":2}])").ok());
}

TEST(ParseJsonTree, NumbersThatNoDoubleHolds) {
  ExpectBegins(RefusalOf(R"({"models":[{"x":2},{"weight":1e400}]})"),
               "models[1].weight: the number '1e400' is too large");
  ExpectBegins(RefusalOf(R"({"a":[1,-1e999]})"), "a[1]: the number '-1e999' is too large");
  ExpectBegins(RefusalOf("1e400"), "the config: the number '1e400' is too large");
  EXPECT_TRUE(ParseJsonTree("1e-400").ok());
  EXPECT_TRUE(ParseJsonTree("123456789012345678901234567890").ok());
}

TEST(ParseJsonTree, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseJsonTree(nested(kMaxJsonDepth)).ok());
  EXPECT_NE(RefusalOf(nested(kMaxJsonDepth + 1)).find("nested more than 32 deep"),
            std::string::npos);
  EXPECT_LT(RefusalOf(std::string(1000000, '[')).size(), 200u);
  std::string objects;
  for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
  EXPECT_LT(RefusalOf(objects).size(), 200u);
}

TEST(ParseJsonTree, SizeIsBounded) {
  EXPECT_NE(RefusalOf(std::string(kMaxJsonBytes + 1, ' ')).find("at most 16.0 MiB"),
            std::string::npos);
}

// A search through all keys for each would take hours.
TEST(ParseJsonTree, ManyKeysAreNoTrap) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += "\"k" + std::to_string(i) + "\":0,";
  EXPECT_TRUE(ParseJsonTree(text + "\"end\":0}").ok());
}

}  // namespace
}  // namespace unetd
