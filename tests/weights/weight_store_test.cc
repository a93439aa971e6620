#include "server/weights/weight_store.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/weights/temp_folder.h"

namespace unetd {
namespace {

using test::TempFolder;

constexpr char kPlain[] = "diffusion_pytorch_model.safetensors";
constexpr char kIndex[] = "diffusion_pytorch_model.safetensors.index.json";

float ValueOf(const std::shared_ptr<WeightStore>& store, const std::string& name) {
  const TensorView* view = store ? store->Find(name) : nullptr;
  return view == nullptr ? -1 : view->as<float>()[0];
}

// The store, or a message that the test shows.
std::shared_ptr<WeightStore> Open(const std::filesystem::path& path,
                                  std::string_view variant = "") {
  auto store = WeightStore::OpenFolder(path, variant);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return store.ok() ? *store : nullptr;
}

std::string RefusalOf(const std::filesystem::path& path, std::string_view variant = "") {
  const auto store = WeightStore::OpenFolder(path, variant);
  EXPECT_FALSE(store.ok());
  return store.status().message();
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(WeightStore, OpensAFolderOrAFile) {
  const TempFolder folder;
  const auto file = folder.WriteFloats(kPlain, {{"b", 2}, {"a", 1}});
  for (const auto& path : {folder.path(), file}) {
    const auto store = Open(path);
    ASSERT_TRUE(store);
    EXPECT_EQ(store->Names(), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(ValueOf(store, "b"), 2);
    EXPECT_EQ(store->Find("c"), nullptr);
    EXPECT_EQ(store->TotalBytes(), 8u);
    EXPECT_TRUE(store->CheckUnchanged().ok());
  }
}

TEST(WeightStore, PlainBeforeVariantUnlessNamed) {
  const TempFolder folder;
  folder.WriteFloats(kPlain, {{"w", 1}});
  folder.WriteFloats("diffusion_pytorch_model.fp16.safetensors", {{"w", 2}});
  EXPECT_EQ(ValueOf(Open(folder.path()), "w"), 1);
  EXPECT_EQ(ValueOf(Open(folder.path(), "fp16"), "w"), 2);
  EXPECT_CONTAINS(RefusalOf(folder.path(), "ema"), "no checkpoint variant 'ema'");
  EXPECT_CONTAINS(RefusalOf(folder / kPlain, "ema"), "'ema'");
}

TEST(WeightStore, OneVariantIsTakenSeveralAreListed) {
  const TempFolder folder;
  folder.WriteFloats("diffusion_pytorch_model.non_ema.safetensors", {{"w", 3}});
  EXPECT_EQ(ValueOf(Open(folder.path()), "w"), 3);
  folder.WriteFloats("diffusion_pytorch_model.fp16.safetensors", {{"w", 2}});
  const std::string message = RefusalOf(folder.path());
  EXPECT_CONTAINS(message, "'fp16', 'non_ema'");
}

TEST(WeightStore, OtherFilesAreNoVariants) {
  const TempFolder folder;
  folder.WriteFloats("diffusion_pytorch_model.fp16.safetensors", {{"w", 2}});
  folder.WriteFloats("diffusion_pytorch_model.ema-00001-of-00002.safetensors", {{"w", 4}});
  folder.WriteFloats("diffusion_pytorch_model-00001-of-00002.safetensors", {{"w", 5}});
  folder.WriteFloats("adapter.safetensors", {{"w", 6}});
  folder.Write("config.json", "{}");
  EXPECT_EQ(ValueOf(Open(folder.path()), "w"), 2);
}

TEST(WeightStore, ReadsShards) {
  const TempFolder folder;
  folder.WriteFloats("s1.safetensors", {{"a", 1}, {"unlisted", 9}});
  folder.WriteFloats("s2.safetensors", {{"b", 2}});
  folder.Write(kIndex, R"({"metadata":{"total_size":8},"weight_map":{"a":"s1.safetensors",)"
                       R"("b":"s2.safetensors"}})");
  const auto store = Open(folder.path());
  ASSERT_TRUE(store);
  EXPECT_EQ(store->Names(), (std::vector<std::string>{"a", "b", "unlisted"}));
  EXPECT_EQ(ValueOf(store, "a"), 1);
  EXPECT_EQ(ValueOf(store, "b"), 2);
  EXPECT_EQ(store->files().size(), 2u);
  EXPECT_NE(store->ContentId("a"), store->ContentId("b"));
}

TEST(WeightStore, IndexDecidesWhereATensorIsThereTwice) {
  const TempFolder folder;
  folder.WriteFloats("s1.safetensors", {{"a", 1}, {"b", 1}});
  folder.WriteFloats("s2.safetensors", {{"a", 2}, {"b", 2}});
  folder.Write(kIndex, R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
  const auto store = Open(folder.path());
  ASSERT_TRUE(store);
  EXPECT_EQ(ValueOf(store, "a"), 1);
  EXPECT_EQ(ValueOf(store, "b"), 2);
}

TEST(WeightStore, IndexOfAVariantByEitherSpelling) {
  for (const char* name : {"diffusion_pytorch_model.safetensors.index.fp16.json",
                           "diffusion_pytorch_model.fp16.safetensors.index.json",
                           "diffusion_pytorch_model.safetensors.fp16.index.json"}) {
    const TempFolder folder;
    folder.WriteFloats("s.safetensors", {{"a", 1}});
    folder.Write(name, R"({"weight_map":{"a":"s.safetensors"}})");
    EXPECT_EQ(ValueOf(Open(folder.path(), "fp16"), "a"), 1) << name;
    EXPECT_EQ(ValueOf(Open(folder.path()), "a"), 1) << name;
  }
}

TEST(WeightStore, ShardsWinOverASingleFile) {
  const TempFolder folder;
  folder.WriteFloats(kPlain, {{"a", 7}});
  folder.WriteFloats("s.safetensors", {{"a", 1}});
  folder.Write(kIndex, R"({"weight_map":{"a":"s.safetensors"}})");
  EXPECT_EQ(ValueOf(Open(folder.path()), "a"), 1);
}

TEST(WeightStore, DamagedIndexIsRefused) {
  const TempFolder folder;
  folder.WriteFloats("s.safetensors", {{"a", 1}});
  const std::pair<const char*, const char*> cases[] = {
      {R"({"weight_map":{"a":"gone.safetensors"}})", "gone.safetensors"},
      {R"({"weight_map":{"b":"s.safetensors"}})", "tensor 'b' is not in its shard"},
      {R"({"weight_map":{"a":"../s.safetensors"}})", "same folder"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "same folder"},
      {R"({"weight_map":{"a":"sub/s.safetensors"}})", "same folder"},
      {R"({"weight_map":{"a":"..safetensors"}})", "same folder"},
      {R"({"weight_map":{"a":"s.safetensors\u0000.safetensors"}})", "same folder"},
      {R"({"weight_map":{"a":"s.bin"}})", "same folder"},
      {R"({"weight_map":{"a":1}})", "number"},
      {R"({"weight_map":{}})", "weight_map"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"metadata":{}})", "weight_map"},
      {R"([])", "weight_map"},
      {R"({"weight_map":{"a":"s.safetensors"})", "weight_map"},
      {R"({"weight_map":{"a":"s.safetensors","a":"t.safetensors"}})", "'a' is there twice"},
      {R"({"weight_map":{"a":"s.safetensors"},"weight_map":{}})", "'weight_map' is there twice"},
      {"", "weight_map"},
  };
  for (const auto& [json, part] : cases) {
    folder.Write(kIndex, json);
    const std::string message = RefusalOf(folder.path());
    EXPECT_CONTAINS(message, part) << json;
    EXPECT_CONTAINS(message, kIndex) << json;
  }
  folder.Write(kIndex, std::string(200000, '['));
  EXPECT_CONTAINS(RefusalOf(folder.path()), "weight_map");
  std::string deep = "{\"weight_map\":";
  for (int i = 0; i < 1000; ++i) deep += "{\"a\":";
  folder.Write(kIndex, deep);
  EXPECT_CONTAINS(RefusalOf(folder.path()), "weight_map");
  // The same key in different objects is legal.
  folder.Write(kIndex,
               R"({"a":"x","metadata":{"a":1,"b":{"a":2}},"weight_map":{"a":"s.safetensors"}})");
  EXPECT_EQ(ValueOf(Open(folder.path()), "a"), 1);
}

TEST(WeightStore, PickleIsRefusedWithAdvice) {
  for (const char* name : {"diffusion_pytorch_model.bin", "model.pt", "model.ckpt",
                           "diffusion_pytorch_model.bin.index.json"}) {
    const TempFolder folder;
    const auto file = folder.Write(name, "\x80\x02");
    EXPECT_CONTAINS(RefusalOf(folder.path()), "safe_serialization=True");
    EXPECT_CONTAINS(RefusalOf(file), "safe_serialization=True");
    // Beside safetensors it is ignored.
    folder.WriteFloats(kPlain, {{"a", 1}});
    EXPECT_EQ(ValueOf(Open(folder.path()), "a"), 1);
  }
}

TEST(WeightStore, NothingThere) {
  const TempFolder folder;
  EXPECT_CONTAINS(RefusalOf(folder / "absent"), "no such file or folder");
  EXPECT_CONTAINS(RefusalOf(folder.path()), "diffusion_pytorch_model");
  EXPECT_EQ(WeightStore::OpenFolder(folder.path()).status().code(), Code::kNotFound);
}

TEST(WeightStore, LegacyAttentionNamesAreRenamed) {
  const TempFolder folder;
  folder.WriteFloats(kPlain, {{"mid_block.attentions.0.query.weight", 1},
                              {"mid_block.attentions.0.key.bias", 2},
                              {"down_blocks.0.attentions.12.value.weight", 3},
                              {"attentions.0.proj_attn.weight", 4},
                              // Both are there: nothing is renamed.
                              {"up_blocks.0.attentions.0.query.weight", 5},
                              {"up_blocks.0.attentions.0.to_q.weight", 6},
                              // Not the attention's own, or no attention at all.
                              {"mid_block.attentions.0.norm.query.weight", 7},
                              {"mid_block.attentions.x.query.weight", 8},
                              {"self_attentions.0.query.weight", 9},
                              {"query.weight", 10}});
  const auto store = Open(folder.path());
  ASSERT_TRUE(store);
  EXPECT_EQ(store->Names(), (std::vector<std::string>{
                                "attentions.0.to_out.0.weight",
                                "down_blocks.0.attentions.12.to_v.weight",
                                "mid_block.attentions.0.norm.query.weight",
                                "mid_block.attentions.0.to_k.bias",
                                "mid_block.attentions.0.to_q.weight",
                                "mid_block.attentions.x.query.weight",
                                "query.weight",
                                "self_attentions.0.query.weight",
                                "up_blocks.0.attentions.0.query.weight",
                                "up_blocks.0.attentions.0.to_q.weight",
                            }));
  EXPECT_EQ(ValueOf(store, "mid_block.attentions.0.to_k.bias"), 2);
  EXPECT_EQ(ValueOf(store, "up_blocks.0.attentions.0.to_q.weight"), 6);
}

TEST(WeightStore, ContentIdIsOfTheBytes) {
  const TempFolder folder;
  const auto path = folder.WriteFloats(kPlain, {{"a", 1}, {"b", 2}});
  const auto first = Open(folder.path());
  ASSERT_TRUE(first);
  const auto again = Open(path);
  ASSERT_TRUE(again);
  EXPECT_NE(first->ContentId("a"), "");
  EXPECT_EQ(first->ContentId("a"), again->ContentId("a"));
  EXPECT_NE(first->ContentId("a"), first->ContentId("b"));
  EXPECT_EQ(first->ContentId("c"), "");
  EXPECT_EQ(first->Fingerprint(), again->Fingerprint());
  folder.WriteFloats(kPlain, {{"a", 1}, {"b", 3}});
  const auto replaced = Open(folder.path());
  ASSERT_TRUE(replaced);
  EXPECT_NE(first->ContentId("a"), replaced->ContentId("a"));
  EXPECT_NE(first->Fingerprint(), replaced->Fingerprint());
  EXPECT_EQ(first->Fingerprint().size(), 16u);
}

TEST(WeightStore, SeesThatAShardWasWrittenTo) {
  const TempFolder folder;
  const auto shard = folder.WriteFloats("s.safetensors", {{"a", 1}});
  folder.Write(kIndex, R"({"weight_map":{"a":"s.safetensors"}})");
  const auto store = Open(folder.path());
  ASSERT_TRUE(store);
  std::filesystem::resize_file(shard, 10);
  EXPECT_EQ(store->CheckUnchanged().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace unetd
