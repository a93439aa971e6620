#include "server/base/text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace unetd {
namespace {

TEST(Quoted, LeavesPlainTextAndUtf8) {
  EXPECT_EQ(Quoted("down_blocks.0"), "'down_blocks.0'");
  EXPECT_EQ(Quoted(""), "''");
  EXPECT_EQ(Quoted("größe 尺寸 🎨"), "'größe 尺寸 🎨'");
}

TEST(Quoted, EscapesWhatBreaksALineOrATerminal) {
  EXPECT_EQ(Quoted("a\nb\tc\rd"), "'a\\nb\\tc\\rd'");
  EXPECT_EQ(Quoted(std::string("\x1b[31m\0x", 7)), "'\\x1b[31m\\x00x'");
  EXPECT_EQ(Quoted("it's \\"), "'it\\'s \\\\'");
  EXPECT_EQ(Quoted("\x7f"), "'\\x7f'");
  EXPECT_EQ(Quoted("\u0085\u202e\u2028\ufeff"), "'\\u0085\\u202e\\u2028\\ufeff'");
}

TEST(Quoted, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(Quoted("\xff\xfe"), "'\\xff\\xfe'");
  EXPECT_EQ(Quoted("\xc0\xaf"), "'\\xc0\\xaf'");                    // overlong
  EXPECT_EQ(Quoted("\xe0\x80\xaf"), "'\\xe0\\x80\\xaf'");           // overlong
  EXPECT_EQ(Quoted("\xed\xa0\x80"), "'\\xed\\xa0\\x80'");           // surrogate
  EXPECT_EQ(Quoted("\xf4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'");  // above U+10FFFF
  EXPECT_EQ(Quoted("ab\xe5\xb0"), "'ab\\xe5\\xb0'");                // cut short
}

TEST(Quoted, CutsTo64Characters) {
  EXPECT_EQ(Quoted(std::string(64, 'x')), "'" + std::string(64, 'x') + "'");
  EXPECT_EQ(Quoted(std::string(65, 'x')), "'" + std::string(64, 'x') + "'...");
  std::string wide;
  for (int i = 0; i < 70; ++i) wide += "ü";
  std::string cut;
  for (int i = 0; i < 64; ++i) cut += "ü";
  EXPECT_EQ(Quoted(wide), "'" + cut + "'...");
}

TEST(JsonQuoted, IsAJsonString) {
  EXPECT_EQ(JsonQuoted("plain 'text'"), R"("plain 'text'")");
  EXPECT_EQ(JsonQuoted("a\"b\\c\nd\x01"), R"("a\"b\\c\nd\u0001")");
  EXPECT_EQ(JsonQuoted("\xff"), "\"\uFFFD\"");
}

TEST(IsUtf8, KnowsIllFormedText) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("größe 🎨"));
  EXPECT_FALSE(IsUtf8("\x80"));
  EXPECT_FALSE(IsUtf8("\xf5\x80\x80\x80"));
  EXPECT_FALSE(IsUtf8("\xc3"));
}

TEST(HumanBytes, PicksTheUnit) {
  EXPECT_EQ(HumanBytes(0), "0 bytes");
  EXPECT_EQ(HumanBytes(1), "1 byte");
  EXPECT_EQ(HumanBytes(1023), "1023 bytes");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes((uint64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(HumanBytes(uint64_t{1} << 30), "1.0 GiB");
  EXPECT_EQ(HumanBytes(UINT64_MAX), "16.0 EiB");
}

TEST(GlobMatch, StarMatchesAnyCharacters) {
  EXPECT_TRUE(GlobMatch("*", ""));
  EXPECT_TRUE(GlobMatch("*", "a.b"));
  EXPECT_TRUE(GlobMatch("*.attn1", "down_blocks.0.attentions.1.transformer_blocks.0.attn1"));
  EXPECT_FALSE(GlobMatch("*.attn1", "down_blocks.0.attn2"));
  EXPECT_FALSE(GlobMatch("*.attn1", "down_blocks.0.attn1.processor"));
  EXPECT_TRUE(GlobMatch("up_blocks.*.attn2", "up_blocks.1.attentions.0.attn2"));
  EXPECT_TRUE(GlobMatch("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(GlobMatch("a*b*c", "aXcYb"));
  EXPECT_TRUE(GlobMatch("a**", "a"));
  EXPECT_FALSE(GlobMatch("a*a", "a"));
  EXPECT_TRUE(GlobMatch("", ""));
  EXPECT_FALSE(GlobMatch("", "a"));
}

TEST(GlobMatch, NothingElseIsSpecial) {
  EXPECT_FALSE(GlobMatch("a.c", "abc"));
  EXPECT_FALSE(GlobMatch("a?c", "abc"));
  EXPECT_TRUE(GlobMatch("(a+)+$", "(a+)+$"));
  EXPECT_FALSE(GlobMatch("(a+)+$", "aaaaaaaa"));
}

// A backtracking matcher needs about 5000^10 steps for this, which no test would see the end of.
TEST(GlobMatch, EndsSoonWhereABacktrackerWouldNot) {
  std::string pattern;
  for (int i = 0; i < 20; ++i) pattern += "*a";
  EXPECT_FALSE(GlobMatch(pattern + "*b", std::string(5000, 'a')));
  EXPECT_TRUE(GlobMatch(pattern, std::string(5000, 'a')));
}

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("weight", "weight"), 0u);
  EXPECT_EQ(EditDistance("weight", "wieght"), 1u);  // swapped
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance(std::string(100, 'a'), "a"), 100u);
}

TEST(Closest, OffersOnlyWhatIsClose) {
  const std::vector<std::string_view> known = {"name", "path", "max_batch", "dtype"};
  EXPECT_EQ(Closest("max_bacth", known), "max_batch");
  EXPECT_EQ(Closest("naem", known), "name");
  EXPECT_EQ(Closest("tls", known), "");
  EXPECT_EQ(Closest("", known), "");
}

}  // namespace
}  // namespace unetd
