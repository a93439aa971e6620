// attention_op: which names stand for which kernel, and in which words the others are refused.
#include "tests/memory_efficient/efficient_case.h"

namespace unetd::test {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

using Names = MemoryEfficient;

// Many queries: whatever splits would not split here by itself.
Efficient Ordinary(const std::string& op) { return {2, 16, 100, 80, op}; }
// Few queries, many keys.
Efficient Long(const std::string& op) { return {2, 16, 4, 1000, op}; }

TEST_P(Names, Cutlass) {
  for (const char* name :
       {"cutlass", "cutlassF", "cutlassF-pt", "MemoryEfficientAttentionCutlassOp",
        "MemoryEfficientAttentionCutlassFwdFlashBwOp", "CUTLASSf", "cutlassF@2.9.1",
        "memoryefficientattentioncutlassop"}) {
    for (const Efficient& e : {Ordinary(name), Long(name)}) {
      EXPECT_THAT(Description(MakeCase(e)), AllOf(StartsWith("cutlassF (tiled " + GetParam()),
                                                  EndsWith("; as attention_op says")))
          << name;
    }
  }
}

TEST_P(Names, SplitKv) {
  for (const char* name : {"triton_splitk", "splitk", "triton_splitKF",
                           "MemoryEfficientAttentionTritonSplitKFwOp", "SPLITK"}) {
    EXPECT_THAT(Description(MakeCase(Long(name))),
                AllOf(StartsWith("triton_splitKF (split-KV " + GetParam() + ", 6 parts"),
                      EndsWith("; as attention_op says")))
        << name;
    EXPECT_THAT(Description(MakeCase(Ordinary(name))), HasSubstr(", 1 part,")) << name;
  }
}

TEST_P(Names, AutoTakesTheFirstOfXFormersOrderThatServes) {
  for (const char* name : {"", "auto", "AUTO"}) {
    EXPECT_THAT(Description(MakeCase(Ordinary(name))),
                AllOf(StartsWith("cutlassF (tiled " + GetParam()),
                      EndsWith("; skipped fa3F: device=cpu; fa2F: device=cpu")))
        << name;
    EXPECT_THAT(Description(MakeCase(Long(name))),
                AllOf(StartsWith("triton_splitKF (split-KV " + GetParam()),
                      EndsWith("; first for Mq <= 32, Mkv >= 256, H < 32")))
        << name;
  }
  EXPECT_THAT(Description(MakeCase({1, 16, 33, 1000})), StartsWith("cutlassF"));
  EXPECT_THAT(Description(MakeCase({1, 16, 32, 255})), StartsWith("cutlassF"));
  EXPECT_THAT(Description(MakeCase({32, 1, 32, 256})), StartsWith("cutlassF"));
  EXPECT_THAT(Description(MakeCase({31, 1, 32, 256})), HasSubstr(" 2 parts"));
  EXPECT_THAT(Description(MakeCase({1, 1, 1, 100000})), HasSubstr(" 16 parts"));
}

TEST_P(Names, SmallKTakesShortHeadsInFloat32) {
  Efficient e = Ordinary("Small_K");
  e.head_dim = 32;
  EXPECT_THAT(Description(MakeCase(e)), StartsWith("small_k (tiled " + GetParam()));
  e.head_dim = 33;
  EXPECT_THAT(Refusal(MakeCase(e)), EndsWith("`small_k` is not supported because: "
                                             "max(query.shape[-1], value.shape[-1]) > 32"));
  e.head_dim = 8;
  e.dtype = UNETD_DTYPE_F16;
  EXPECT_THAT(Refusal(MakeCase(e)),
              EndsWith("because: dtype=torch.float16 (supported: {torch.float32})"));
}

TEST_P(Names, GpuKernelsAreRefusedInXFormersWords) {
  const std::pair<const char*, const char*> names[] = {
      {"flash3", "fa3F"},
      {"fa3", "fa3F"},
      {"FA3f", "fa3F"},
      {"flash", "fa2F"},
      {"fa2F", "fa2F"},
      {"fa2F@v2.6.3-pt", "fa2F"},
      {"MemoryEfficientAttentionFlashAttentionOp", "fa2F"},
      {"ck", "ckF"},
      {"ckF", "ckF"},
      {"MemoryEfficientAttentionCkOp", "ckF"},
      {"ck_splitk", "ck_splitKF"},
      {"MemoryEfficientAttentionSplitKCkOp", "ck_splitKF"},
      {"cutlassF-blackwell", "cutlassF-blackwell"},
      {"MemoryEfficientAttentionCutlassBlackwellOp", "cutlassF-blackwell"}};
  for (const auto& [name, xformers] : names) {
    EXPECT_THAT(Refusal(MakeCase(Ordinary(name))),
                AllOf(HasSubstr("Operator `memory_efficient_attention` does not support inputs: "
                                "query : shape=(1, 100, 2, 16) (torch.float32), "
                                "key : shape=(1, 80, 2, 16) (torch.float32), "),
                      HasSubstr(std::string("`") + xformers +
                                "` is not supported because: device=cpu (supported: {'cuda'})")))
        << name;
  }
  for (const char* name : {"ck", "ck_splitk", "blackwell"}) {
    EXPECT_THAT(Refusal(MakeCase(Ordinary(name))), HasSubstr("operator wasn't built"));
  }
}

TEST_P(Names, EveryReasonIsGiven) {
  Efficient e = Ordinary("flash");
  e.head_dim = 512;
  e.mask = MaskKind::kEach;
  EXPECT_THAT(
      Refusal(MakeCase(e)),
      AllOf(HasSubstr("attn_bias : <class 'torch.Tensor'>"),
            EndsWith("because: device=cpu (supported: {'cuda'}); dtype=torch.float32 (supported: "
                     "{torch.bfloat16, torch.float16}); max(query.shape[-1], value.shape[-1]) > "
                     "256; attn_bias type is <class 'torch.Tensor'>")));
  e.dtype = UNETD_DTYPE_BF16;
  EXPECT_THAT(Refusal(MakeCase(e)), AllOf(Not(HasSubstr("dtype=")), HasSubstr("torch.bfloat16")));
}

TEST_P(Names, TheUnknownAreRefusedWithTheAcceptedOnes) {
  const std::string why = Refusal(MakeCase(Ordinary("cutlas")));
  EXPECT_THAT(why, HasSubstr("attention_op \"cutlas\" is unknown, expected null, auto, "));
  for (const char* name :
       {"cutlass", "cutlassF", "cutlassF-pt", "MemoryEfficientAttentionCutlassOp",
        "MemoryEfficientAttentionCutlassFwdFlashBwOp", "triton_splitk", "splitk", "triton_splitKF",
        "MemoryEfficientAttentionTritonSplitKFwOp", "small_k"}) {
    EXPECT_THAT(why, HasSubstr(std::string(", ") + name)) << name;
  }
  EXPECT_THAT(why, Not(HasSubstr("fa2F")));
  EXPECT_THAT(Refusal(MakeCase(Ordinary("a\n\"b"))), HasSubstr("attention_op \"a??b\" is unknown"));
  EXPECT_THAT(Refusal(MakeCase(Ordinary("@"))), HasSubstr("is unknown"));
  OperatorCase test = MakeCase(Ordinary(""));
  std::fill(std::begin(test.desc.u.attention.op), std::end(test.desc.u.attention.op), 'x');
  EXPECT_THAT(Refusal(test), HasSubstr("attention_op is not terminated"));
  // The longest name still leaves room for the end of the text.
  EXPECT_THAT(Refusal(MakeCase(Ordinary(std::string(63, 'y')))),
              EndsWith("small_k (in upper or lower case)"));
}

// A name with a NUL in front is the empty one.
TEST_P(Names, TheEmptyNameIsServed) { EXPECT_THAT(Refusal(MakeCase(Ordinary(""))), IsEmpty()); }

INSTANTIATE_TEST_SUITE_P(Isa, Names, ::testing::ValuesIn(Isas()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace unetd::test
