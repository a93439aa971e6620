#include "server/base/log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace unetd {
namespace {

const std::vector<LogField> kFields = {
    {"model", "sd15"},
    {"text", "two \"words\""},
    {"rows", 4},
    {"bytes", uint64_t{18446744073709551615u}},
    {"negative", int64_t{-5}},
    {"ms", 1.5},
    {"cached", true},
    {"none", ""},
    {"nan", std::nan("")},
};

TEST(LogPayload, TextIsKeyValue) {
  EXPECT_EQ(LogPayload(LogFormat::kText, "request done", kFields),
            "request done model=sd15 text=\"two \\\"words\\\"\" rows=4 "
            "bytes=18446744073709551615 negative=-5 ms=1.5 cached=true none=\"\" nan=nan");
}

TEST(LogPayload, JsonKeepsTypesAndIsEscaped) {
  EXPECT_EQ(LogPayload(LogFormat::kJson, "request \"done\"\n", kFields),
            R"("message":"request \"done\"\n","model":"sd15","text":"two \"words\"","rows":4,)"
            R"("bytes":18446744073709551615,"negative":-5,"ms":1.5,"cached":true,"none":"",)"
            R"("nan":null)");
}

// A stranger's text must not write a line of its own.
TEST(LogPayload, StaysOneLine) {
  const std::vector<LogField> fields = {{"id", "x\n2026-01-01 error forged=1\x1b[0m"},
                                        {"key\nwith break", 1}};
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line = LogPayload(format, "first\nsecond\r\x07", fields);
    for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
  }
}

TEST(LogPayload, InvalidUtf8BecomesValid) {
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    EXPECT_TRUE(IsUtf8(LogPayload(format, "bad \xff", {{"k\xfe", "v\xfd"}})));
  }
}

class LogLines : public testing::Test {
 protected:
  void TearDown() override { InitLog(LogFormat::kText, LogLevel::kInfo); }

  template <typename Body>
  static std::string Capture(const Body& body) {
    testing::internal::CaptureStderr();
    body();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogLines, TextHasTimeLevelMessage) {
  InitLog(LogFormat::kText, LogLevel::kInfo);
  const std::string out = Capture([] { UNETD_LOG_WARNING("{} of {}", 1, "two"); });
  EXPECT_TRUE(std::regex_match(
      out, std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning 1 of two\n)")))
      << out;
}

TEST_F(LogLines, JsonHasTimeLevelMessageAndFields) {
  InitLog(LogFormat::kJson, LogLevel::kInfo);
  const std::string out = Capture([] { LogFields(LogLevel::kInfo, "100% {done}", {{"rows", 2}}); });
  EXPECT_TRUE(std::regex_match(
      out,
      std::regex(R"re(\{"time":"[^"]+Z","level":"info","message":"100% \{done\}","rows":2\}\n)re")))
      << out;
}

TEST_F(LogLines, LevelsBelowAreSilentAndNotFormatted) {
  InitLog(LogFormat::kText, LogLevel::kWarning);
  int formatted = 0;
  const auto count = [&formatted] { return ++formatted; };
  EXPECT_EQ(Capture([&] {
              UNETD_LOG_DEBUG("{}", count());
              UNETD_LOG_INFO("{}", count());
              LogFields(LogLevel::kInfo, "x", {});
            }),
            "");
  EXPECT_EQ(formatted, 0);
  EXPECT_NE(Capture([&] { UNETD_LOG_ERROR("{}", count()); }), "");
  EXPECT_EQ(formatted, 1);
}

TEST_F(LogLines, ThreadsDoNotMixLines) {
  InitLog(LogFormat::kText, LogLevel::kInfo);
  const std::string out = Capture([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 50; ++i) UNETD_LOG_INFO("thread {} line {}", t, i);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  const std::regex line(R"([^\n]*Z info thread \d line \d+\n)");
  const auto begin = std::sregex_iterator(out.begin(), out.end(), line);
  EXPECT_EQ(std::distance(begin, std::sregex_iterator()), 200);
}

}  // namespace
}  // namespace unetd
