// Opening: where CANN is looked for, what is said when it is not there, options.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/backend/library.h"
#include "server/backend/registry.h"
#include "tests/npu/harness.h"

namespace unetd::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

using Options = std::vector<std::pair<std::string, std::string>>;

class NpuOpen : public ::testing::Test {
 protected:
  NpuOpen() {
    ClearCannEnvironment();
    char pattern[] = "/tmp/unetd-npu-XXXXXX";
    folder_ = mkdtemp(pattern);
  }
  ~NpuOpen() override {
    ClearCannEnvironment();
    fs::remove_all(folder_);
  }

  // A link to an emulated library at `at` under the test's folder.
  void Link(const std::string& at, const std::string& variant, const std::string& file) {
    fs::create_directories((folder_ / at).parent_path());
    fs::create_symlink(fs::path(CannFolder(variant)) / file, folder_ / at);
  }
  void LinkRuntime(const std::string& at) {
    for (const char* file : {"libascendcl.so", "libnnopbase.so"}) {
      Link(at + "/" + file, "full", file);
    }
  }
  static void Set(const char* name, const fs::path& value) { setenv(name, value.c_str(), 1); }
  static StatusOr<std::shared_ptr<Backend>> Open(const Options& options = {}) {
    return LoadBackend(NpuPlugin(), options);
  }
  static std::string Words(const Options& options = {}) {
    const auto backend = Open(options);
    EXPECT_FALSE(backend.ok());
    return backend.ok() ? "" : backend.status().message();
  }

  fs::path folder_;
};

// Of the tests that say what happens without CANN.
class NpuWithoutCann : public NpuOpen {
 protected:
  void SetUp() override {
    if (void* cann = dlopen("libascendcl.so", RTLD_LAZY)) {
      dlclose(cann);
      GTEST_SKIP() << "this machine has a CANN in the loader's path";
    }
  }
};

TEST_F(NpuWithoutCann, SaysWhatWasLookedForAndWhere) {
  const auto backend = Open();
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), Code::kUnimplemented);
  EXPECT_THAT(
      backend.status().message(),
      HasSubstr("no CANN runtime: looked for libascendcl.so, libnnopbase.so, libopapi.so, "
                "libopapi_*.so, libcust_opapi.so in $ASCEND_HOME_PATH/lib64 (not set), "
                "$ASCEND_TOOLKIT_HOME/lib64 (not set), $ASCEND_OPP_PATH/vendors/*/op_api/lib (not "
                "set), the loader's path"));
}

TEST_F(NpuWithoutCann, NamesTheFoldersThatItLookedIn) {
  Set("ASCEND_HOME_PATH", folder_ / "home");
  Set("ASCEND_TOOLKIT_HOME", folder_ / "toolkit");
  Set("ASCEND_OPP_PATH", folder_ / "opp");
  fs::create_directories(folder_ / "opp/vendors/acme");
  const std::string words = Words({{"library_path", "/nowhere/at/all"}});
  for (const std::string& folder :
       {std::string("/nowhere/at/all"), (folder_ / "home/lib64").string(),
        (folder_ / "toolkit/lib64").string(), std::string("vendors/acme/op_api/lib")}) {
    EXPECT_THAT(words, HasSubstr(folder));
  }
}

// unetd_error holds 511 characters.
TEST_F(NpuWithoutCann, LongPathsStillFit) {
  const std::string deep(900, 'x');
  Set("ASCEND_HOME_PATH", "/home/" + deep);
  Set("ASCEND_TOOLKIT_HOME", "/toolkit/" + deep);
  for (int i = 0; i < 30; ++i) {
    fs::create_directories(folder_ / "opp/vendors" / (std::string(100, 'v') + std::to_string(i)));
  }
  Set("ASCEND_OPP_PATH", folder_ / "opp");
  std::ofstream(folder_ / "libascendcl.so") << std::string(300, 'z');
  const std::string words = Words({{"library_path", folder_.string()}});
  const std::string own = words.substr(words.find("no CANN runtime"));
  EXPECT_LT(own.size(), 512u);
  EXPECT_THAT(own, HasSubstr("/home/xxx"));
  EXPECT_THAT(own, HasSubstr("/toolkit/xxx"));
  EXPECT_THAT(own, HasSubstr("more folders), the loader's path"));
}

TEST_F(NpuWithoutCann, AFileThatCannotBeLoadedIsNamed) {
  std::ofstream(folder_ / "libascendcl.so") << "no library";
  EXPECT_THAT(Words({{"library_path", folder_.string()}}),
              HasSubstr("libascendcl.so: file too short"));
}

TEST_F(NpuWithoutCann, TheRegistrySaysItWhenTheBackendIsAskedFor) {
  const auto registry =
      BackendRegistry::Open({}, fs::path(NpuPlugin()).parent_path(), [](int32_t, const char*) {});
  ASSERT_TRUE(registry.ok()) << registry.status().message();
  const auto npu = registry->Find("npu");
  ASSERT_FALSE(npu.ok());
  EXPECT_THAT(npu.status().message(), HasSubstr("no CANN runtime: looked for libascendcl.so"));
}

TEST_F(NpuOpen, WithoutOperatorsOrSymbols) {
  LinkRuntime("cann");
  const std::string words = Words({{"library_path", (folder_ / "cann").string()}});
  EXPECT_THAT(words, HasSubstr("CANN has no aclnnFlashAttentionScore (or "
                               "aclnnPromptFlashAttentionV3): looked for it in libascendcl.so, "));
  EXPECT_THAT(words, HasSubstr((folder_ / "cann").string()));
  Link("half/libascendcl.so", "full", "libascendcl.so");
  Link("half/libopapi.so", "full", "libopapi.so");
  EXPECT_THAT(Words({{"library_path", (folder_ / "half").string()}}),
              HasSubstr("CANN has no aclCreateTensor: looked for it in"));
}

TEST_F(NpuOpen, FindsCannByTheEnvironment) {
  LinkRuntime("home/lib64");
  Link("home/lib64/libopapi.so", "full", "libopapi.so");
  Set("ASCEND_HOME_PATH", folder_ / "home");
  EXPECT_TRUE(Open().ok());
  ClearCannEnvironment();
  Set("ASCEND_TOOLKIT_HOME", folder_ / "home");
  EXPECT_TRUE(Open().ok());
}

TEST_F(NpuOpen, FindsSplitAndCustomOperators) {
  auto split = OpenNpu("split");
  ASSERT_TRUE(split.ok()) << split.status().message();
  ExpectReference(*split, {});
  // However CANN splits its operators.
  LinkRuntime("future");
  Link("future/libopapi_future.so", "split", "libopapi_transformer.so");
  EXPECT_TRUE(Open({{"library_path", (folder_ / "future").string()}}).ok());
  LinkRuntime("home/lib64");
  Link("opp/vendors/acme/op_api/lib/libcust_opapi.so", "full", "libopapi.so");
  Set("ASCEND_HOME_PATH", folder_ / "home");
  Set("ASCEND_OPP_PATH", folder_ / "opp");
  const auto custom = Open();
  ASSERT_TRUE(custom.ok()) << custom.status().message();
  ExpectReference(*custom, {});
}

TEST_F(NpuOpen, LibraryPathComesFirst) {
  Set("ASCEND_HOME_PATH", folder_ / "home");
  LinkRuntime("home/lib64");
  Link("home/lib64/libopapi.so", "full", "libopapi.so");
  LinkRuntime("mine");
  Link("mine/libopapi.so", "prompt", "libopapi.so");
  const auto backend = Open({{"library_path", (folder_ / "mine").string()}});
  ASSERT_TRUE(backend.ok());
  EXPECT_THAT((*backend)->Prepare(Descriptor({}))->description(),
              HasSubstr("aclnnPromptFlashAttentionV3"));
}

TEST_F(NpuOpen, DescribesItself) {
  const auto opened = OpenNpu();
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  const unetd_backend_info& info = (*opened)->info();
  EXPECT_EQ((*opened)->name(), "npu");
  EXPECT_STREQ(info.domain, "npu");
  EXPECT_STREQ(info.device, "AscendEmulated");
  EXPECT_EQ(info.owns_domain, 1u);
  EXPECT_EQ(info.batch_invariant, 0u) << "nothing shows that it is";
}

TEST_F(NpuOpen, OptionsAreChecked) {
  const auto refused = [](const std::string& key, const std::string& value) {
    const auto backend = OpenNpu("full", {{key, value}});
    EXPECT_FALSE(backend.ok());
    EXPECT_EQ(backend.status().code(), Code::kInvalidArgument);
    return backend.ok() ? "" : backend.status().message();
  };
  EXPECT_THAT(refused("threads", "2"),
              HasSubstr("unknown option threads, expected device or library_path"));
  EXPECT_THAT(refused("device", "1"), HasSubstr("option device: expected 0 to 0, got 1"));
  for (const std::string value : {"", "-1", "0x1", "1e3", "99999999999999999999"}) {
    EXPECT_THAT(refused("device", value), HasSubstr("option device: expected a whole number"));
  }
  EXPECT_THAT(refused("library_path", "lib"),
              HasSubstr("option library_path: expected an absolute folder"));
  ExpectNoLeaks();
}

TEST_F(NpuOpen, DevicesAreCounted) {
  cann_emulator::SetDeviceCount(0);
  const auto none = OpenNpu();
  cann_emulator::SetDeviceCount(3);
  const auto last = OpenNpu("full", {{"device", "2"}});
  cann_emulator::SetDeviceCount(1);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("CANN finds no Ascend device"));
  EXPECT_TRUE(last.ok()) << last.status().message();
}

}  // namespace
}  // namespace unetd::test
