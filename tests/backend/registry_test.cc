// The registry: the config's backends or the plugin folder's, in order, each name once.
#include "server/backend/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace unetd {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RegistryTest : public ::testing::Test {
 protected:
  RegistryTest() {
    char pattern[] = "/tmp/unetd-registry-XXXXXX";
    folder_ = mkdtemp(pattern);
  }
  ~RegistryTest() override { fs::remove_all(folder_); }

  void Put(const std::string& fake, const std::string& name) {
    fs::copy_file(fs::path(UNETD_FAKES_DIR) / (fake + ".so"), folder_ / name);
  }
  StatusOr<BackendRegistry> Open(const std::vector<BackendSettings>& settings = {}) {
    return BackendRegistry::Open(settings, folder_);
  }
  static std::vector<std::string> Names(const BackendRegistry& registry) {
    std::vector<std::string> names;
    for (const auto& backend : registry.All()) names.push_back(backend->name());
    return names;
  }

  fs::path folder_;
};

TEST_F(RegistryTest, OpensTheFolderByNameAndKeepsReasons) {
  Put("throwing", "throwing.so");
  Put("refusing", "refusing.so");
  Put("wrong_major", "another.so");
  Put("silent", "not_a_plugin.txt");
  std::ofstream(folder_ / "text.so") << "no library";
  const auto registry = Open();
  ASSERT_TRUE(registry.ok()) << registry.status().message();
  EXPECT_THAT(Names(*registry), ElementsAre("refusing", "throwing"));
  ASSERT_EQ(registry->unopened().size(), 2u);
  EXPECT_EQ(registry->unopened()[0].file, (folder_ / "another.so").string());
  EXPECT_THAT(registry->unopened()[0].reason.message(), HasSubstr("it was built for ABI 2.1"));
  EXPECT_THAT(registry->unopened()[1].reason.message(), HasSubstr("/text.so': cannot be loaded"));
}

TEST_F(RegistryTest, AFolderWithTwoOfOneNameKeepsTheFirst) {
  Put("refusing", "a.so");
  Put("refusing", "b.so");
  const auto registry = Open();
  ASSERT_TRUE(registry.ok());
  EXPECT_THAT(Names(*registry), ElementsAre("refusing"));
  ASSERT_EQ(registry->unopened().size(), 1u);
  EXPECT_THAT(registry->unopened()[0].reason.message(), HasSubstr("'refusing' is there twice"));
}

TEST_F(RegistryTest, AMissingFolderIsAnError) {
  const auto registry = BackendRegistry::Open({}, folder_ / "gone");
  ASSERT_FALSE(registry.ok());
  EXPECT_EQ(registry.status().code(), Code::kNotFound);
  EXPECT_THAT(registry.status().message(), HasSubstr("gone': No such file"));
}

TEST_F(RegistryTest, TheConfigsOrderHolds) {
  Put("throwing", "throwing.so");
  Put("refusing", "elsewhere.so");
  const auto registry = Open({{"throwing", {}, {}, "backends[0]"},
                              {"reference", {}, {}, "backends[1]"},
                              {"refusing", folder_ / "elsewhere.so", {}, "backends[2]"}});
  ASSERT_TRUE(registry.ok()) << registry.status().message();
  EXPECT_THAT(Names(*registry), ElementsAre("throwing", "reference", "refusing"));
  std::vector<std::string> host;
  for (const auto& backend : registry->OfDomain("host")) host.push_back(backend->name());
  EXPECT_THAT(host, ElementsAre("reference", "refusing"));
  EXPECT_TRUE(registry->OfDomain("cuda").empty());
}

TEST_F(RegistryTest, TheReferenceIsThereOnlyIfNamed) {
  const auto registry = Open();
  ASSERT_TRUE(registry.ok());
  EXPECT_TRUE(registry->All().empty());
}

TEST_F(RegistryTest, WhatTheConfigNamesMustOpen) {
  const auto missing = Open({{"cpu", {}, {}, "backends[0]"}});
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.status().message(),
              HasSubstr("backends[0]: backend library '" + (folder_ / "cpu.so").string()));
  Put("missing_run", "cpu.so");
  EXPECT_THAT(Open({{"cpu", {}, {}, "backends[0]"}}).status().message(),
              HasSubstr("lacks the required entry 'run'"));
}

TEST_F(RegistryTest, ANameMustBeTheLibrarysOwn) {
  Put("refusing", "cpu.so");
  const auto registry = Open({{"cpu", {}, {}, "backends[0]"}});
  ASSERT_FALSE(registry.ok());
  EXPECT_THAT(registry.status().message(),
              HasSubstr("it calls itself 'refusing', the config calls it 'cpu'"));
}

TEST_F(RegistryTest, ANameIsNoPath) {
  Put("refusing", "refusing.so");
  for (const std::string& name : {std::string("../") + folder_.filename().string() + "/refusing",
                                  std::string("/x"), std::string(), std::string("re\0f", 4)}) {
    const auto registry = Open({{name, {}, {}, "backends[0]"}});
    ASSERT_FALSE(registry.ok());
    EXPECT_EQ(registry.status().code(), Code::kInvalidArgument);
    EXPECT_THAT(registry.status().message(), HasSubstr("backends[0]: backend name '"));
  }
}

TEST_F(RegistryTest, NoNameTwice) {
  const auto registry =
      Open({{"reference", {}, {}, "backends[0]"}, {"reference", {}, {}, "backends[1]"}});
  ASSERT_FALSE(registry.ok());
  EXPECT_THAT(registry.status().message(),
              HasSubstr("backends[1]: backend 'reference' is there twice"));
}

TEST_F(RegistryTest, OptionsReachTheBackend) {
  const auto registry = Open({{"reference", {}, {{"colour", "blue"}}, "backends[0]"}});
  ASSERT_FALSE(registry.ok());
  EXPECT_THAT(registry.status().message(),
              HasSubstr("option 'colour': the reference provider takes none"));
}

TEST_F(RegistryTest, FindsByNameOrSaysWhatThereIs) {
  const auto registry = Open({{"reference", {}, {}, "backends[0]"}});
  ASSERT_TRUE(registry.ok());
  ASSERT_TRUE(registry->Find("reference").ok());
  EXPECT_EQ((*registry->Find("reference"))->name(), "reference");
  EXPECT_EQ(registry->Find("cuda").status().code(), Code::kNotFound);
  EXPECT_EQ(registry->Find("cuda").status().message(),
            "no backend is called 'cuda'; there are: reference");
}

TEST_F(RegistryTest, FindSaysWhyAPluginIsNotThere) {
  Put("refusing", "refusing.so");
  Put("open_fails", "npu.so");
  std::ofstream(folder_ / "cuda.so") << "no library";
  const auto registry = Open();
  ASSERT_TRUE(registry.ok());
  const Status npu = registry->Find("npu").status();
  EXPECT_EQ(npu.code(), Code::kNotFound);
  EXPECT_THAT(npu.message(), HasSubstr("no backend is called 'npu', since it could not be opened: "
                                       "backend library '" +
                                       (folder_ / "npu.so").string() + "': "));
  EXPECT_THAT(npu.message(), HasSubstr("no such device"));
  EXPECT_THAT(npu.message(), HasSubstr("; there are: refusing"));
  EXPECT_THAT(registry->Find("cuda").status().message(), HasSubstr("cannot be loaded"));
  EXPECT_EQ(registry->Find("other").status().message(),
            "no backend is called 'other'; there are: refusing");
}

TEST(DefaultPluginFolder, IsBesideTheExecutablesFolder) {
  const auto folder = DefaultPluginFolder();
  ASSERT_TRUE(folder.ok());
  const fs::path executable = fs::read_symlink("/proc/self/exe");
  EXPECT_EQ(*folder, executable.parent_path().parent_path() / "lib" / "unetd");
}

}  // namespace
}  // namespace unetd
