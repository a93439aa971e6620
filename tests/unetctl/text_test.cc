// What unetctl prints: tables, progress, failures.
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>

#include "client/unetctl/failure.h"
#include "client/unetctl/help_text.h"
#include "client/unetctl/inspect.h"
#include "client/unetctl/progress_bar.h"
#include "client/unetctl/table.h"

namespace unetd::unetctl {
namespace {

TEST(Table, AlignsColumnsAndShortensNothing) {
  Table table({{"name", false}, {"n", true}});
  table.AddRow({"a", "1"});
  table.AddRow({"größer", "12345"});
  EXPECT_EQ(table.Text(),
            "name        n\n"
            "------  -----\n"
            "a           1\n"
            "größer  12345\n");
}

TEST(Table, MissingCellsAreEmptyAndTextIsMadeSafe) {
  Table table({{"a", false}, {"b", false}});
  table.AddRow({"x\x1b[2J"});
  table.AddRow({"y", "z", "dropped"});
  const std::string text = table.Text();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("x\\x1b[2J\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("dropped"), std::string::npos);
}

TEST(Progress, ClockText) {
  EXPECT_EQ(ClockText(0), "0:00");
  EXPECT_EQ(ClockText(7.4), "0:07");
  EXPECT_EQ(ClockText(754), "12:34");
  EXPECT_EQ(ClockText(3723), "1:02:03");
  EXPECT_EQ(ClockText(-1), "?");
  EXPECT_EQ(ClockText(std::numeric_limits<double>::infinity()), "?");
}

TEST(Progress, TellsRateAndTimeLeft) {
  EXPECT_EQ(ProgressText({"lean", 0, 20, 0}, 10), "lean  [----------] 0/20 steps");
  EXPECT_EQ(ProgressText({"lean", 5, 20, 2.5}, 10),
            "lean  [##--------] 5/20 steps  2.0 it/s  0:08 left");
  EXPECT_EQ(ProgressText({"lean", 20, 20, 4}, 0), "lean  20/20 steps  5.0 it/s  0:00 left");
  EXPECT_EQ(ProgressText({"lean", 30, 20, 10}, 10),
            "lean  [##########] 30/20 steps  3.0 it/s  0:00 left");
  EXPECT_EQ(ProgressText({"8 clients", 3, 5, 3, "s", "120 answered"}, 0),
            "8 clients  3/5 s  120 answered");
}

std::string Written(int64_t total, int64_t steps, ProgressStyle style) {
  char* buffer = nullptr;
  size_t size = 0;
  std::FILE* out = open_memstream(&buffer, &size);
  {
    ProgressBar bar("v", total, out, style);
    bar.Start();
    for (int64_t step = 0; step < steps; ++step) bar.Advance();
  }
  std::fclose(out);
  const std::string text(buffer, size);
  std::free(buffer);
  return text;
}

std::string PlainLines(int64_t total, int64_t steps) {
  return Written(total, steps, ProgressStyle::kLines);
}

TEST(Progress, PlainOutputIsFourLinesWhateverTheSteps) {
  for (const int64_t total : {4, 25, 1000}) {
    const std::string text = PlainLines(total, total);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
    EXPECT_EQ(text.find('\r'), std::string::npos);
  }
  EXPECT_EQ(PlainLines(0, 0), "");
}

TEST(Progress, TheStyleIsWhatTheCommandLineSays) {
  EXPECT_EQ(Written(4, 4, ProgressStyle::kNone), "");
  const std::string bar = Written(4, 1, ProgressStyle::kBar);
  EXPECT_EQ(std::count(bar.begin(), bar.end(), '\r'), 2) << bar;
  EXPECT_EQ(bar.back(), '\n');
  ProgressOptions options;
  options.shown = true;
  EXPECT_EQ(options.Style(), ProgressStyle::kBar);
  options.shown = false;
  EXPECT_EQ(options.Style(), ProgressStyle::kNone);
}

TEST(Help, LinesAreBrokenAtSpaces) {
  EXPECT_EQ(Wrapped("one two three", 7), "one two\nthree");
  EXPECT_EQ(Wrapped("one two three", 6), "one\ntwo\nthree");
  EXPECT_EQ(Wrapped("incomprehensible", 4), "incomprehensible");
  EXPECT_EQ(Wrapped("", 4), "");
}

TEST(Failure, ServersMessageIsOneSafeLine) {
  const Outcome outcome =
      RpcFailure({grpc::StatusCode::NOT_FOUND, "no\nmodel \x1b[31m \xff"}, "host:1");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, kExitServer);
  EXPECT_EQ(outcome->text, "NOT_FOUND: no\\x0amodel \\x1b[31m \\xff");
  EXPECT_EQ(RpcFailure({grpc::StatusCode::UNIMPLEMENTED, ""}, "host:1")->text, "UNIMPLEMENTED");
  EXPECT_EQ(Printable("grün \xc2\x9b"), "grün \\x9b");
}

TEST(Failure, UnavailableNamesTheAddress) {
  const Outcome outcome = RpcFailure({grpc::StatusCode::UNAVAILABLE, "refused"}, "host:1");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, kExitUnreachable);
  EXPECT_EQ(outcome->text, "no answer from host:1: UNAVAILABLE: refused");
  EXPECT_FALSE(RpcFailure(grpc::Status::OK, "host:1"));
}

TEST(Layers, OneLineAVariantAndRefusalsBelow) {
  v1::DescribeModelResponse description;
  v1::Layer& layer = *description.add_layers();
  layer.set_name("mid_block.attn1");
  layer.set_kind("self");
  layer.set_heads(4);
  layer.set_head_dim(16);
  layer.set_query_dim(64);
  layer.add_legal_processors("AttnProcessor");
  for (const char* variant : {"baseline", "lean"}) {
    v1::Binding& binding = *layer.add_bindings();
    binding.set_variant(variant);
    binding.set_processor("AttnProcessor2_0");
    binding.set_algorithm("sdpa");
    binding.set_backend("cpu");
    binding.set_rule("default");
  }
  layer.mutable_bindings(1)->set_fallback(true);
  layer.mutable_bindings(1)->add_refusals("gpu: not here");
  const std::string text = LayersText(description, false);
  EXPECT_NE(text.find("mid_block.attn1  self       4 x 16     64      -  baseline"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("sdpa (fallback)"), std::string::npos) << text;
  EXPECT_NE(text.find("refused for variant lean, mid_block.attn1: gpu: not here\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
  EXPECT_NE(LayersText(description, true).find("AttnProcessor\n"), std::string::npos);
}

}  // namespace
}  // namespace unetd::unetctl
