// Loading: each way in which a file or a table can be wrong gets its own words, and the host lives.
#include "server/backend/library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace unetd {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Fake(const std::string& name) {
  return std::string(UNETD_FAKES_DIR) + "/" + name + ".so";
}

class Folder {
 public:
  Folder() {
    char pattern[] = "/tmp/unetd-library-XXXXXX";
    path_ = mkdtemp(pattern);
  }
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

StatusOr<std::shared_ptr<Backend>> Load(
    const std::string& path, const std::vector<std::pair<std::string, std::string>>& options = {}) {
  return LoadBackend(path, options, [](int32_t, const char*) {});
}

struct Wrong {
  std::string fake;
  std::string words;
  Code code = Code::kFailedPrecondition;
};

class WrongLibrary : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongLibrary, IsRefusedByName) {
  const auto backend = Load(Fake(GetParam().fake));
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), GetParam().code) << backend.status().message();
  EXPECT_THAT(backend.status().message(), HasSubstr("/" + GetParam().fake + ".so'"));
  EXPECT_THAT(backend.status().message(), HasSubstr(GetParam().words));
  EXPECT_TRUE(Load(Fake("refusing")).ok()) << "after a refusal a good library must still load";
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongLibrary,
    ::testing::Values(
        Wrong{"wrong_major", "it was built for ABI 2.1; this server speaks 1.1"},
        Wrong{"newer_minor", "it needs the newer ABI 1.2; this server speaks 1.1"},
        Wrong{"short_struct", "ABI 1.1 needs " + std::to_string(sizeof(unetd_backend))},
        Wrong{"tiny_struct", "its table has 4 bytes, too few to hold the ABI's version"},
        Wrong{"missing_run", "lacks the required entry 'run'"},
        Wrong{"missing_supports", "lacks the required entry 'supports'"},
        Wrong{"half_capture", "expected all or none"}, Wrong{"null_table", "returned no table"},
        Wrong{"null_name", "has no name"}, Wrong{"bad_name", "its name 'No Good' is malformed"},
        Wrong{"null_version", "its version is a null pointer"},
        Wrong{"no_entry", "does not export unetd_backend_entry"},
        Wrong{"undefined_import", "a_function_that_nobody_defines"},
        Wrong{"open_fails", "no such device", Code::kInternal},
        Wrong{"half_domain", "owns the domain 'host' but its table lacks allocate, free or copy"},
        Wrong{"long_domain", "' is malformed; expected 1 to 31"}),
    [](const auto& info) { return info.param.fake; });

TEST(LoadBackend, RefusesALibraryThatIsCutShortAnywhere) {
  const Folder folder;
  std::ifstream in(Fake("refusing"), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  ASSERT_GT(whole.size(), 8192u);
  const fs::path cut = folder.path() / "cut.so";
  for (const size_t size : {size_t{0}, size_t{3}, size_t{64}, size_t{100}, size_t{1000},
                            size_t{4096}, size_t{5000}, whole.size() / 2}) {
    std::ofstream(cut, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    const auto backend = Load(cut);
    ASSERT_FALSE(backend.ok()) << size;
    EXPECT_THAT(backend.status().message(), HasSubstr("cut.so'")) << size;
  }
  EXPECT_THAT(Load(cut).status().message(), HasSubstr("the file is cut short"));
}

TEST(LoadBackend, RefusesWhatIsNoLibrary) {
  const Folder folder;
  const fs::path text = folder.path() / "text.so";
  std::ofstream(text) << "this is a text file, not a library\n";
  const auto backend = Load(text.string());
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(backend.status().message(), HasSubstr("/text.so': cannot be loaded: "));
}

TEST(LoadBackend, RefusesADirectory) {
  const Folder folder;
  fs::create_directory(folder.path() / "folder.so");
  const auto backend = Load((folder.path() / "folder.so").string());
  ASSERT_FALSE(backend.ok());
  EXPECT_THAT(backend.status().message(), HasSubstr("/folder.so': is a directory"));
}

TEST(LoadBackend, RefusesWhatIsNoRegularFile) {
  const auto backend = Load("/dev/null");
  ASSERT_FALSE(backend.ok());
  EXPECT_THAT(backend.status().message(), HasSubstr("'/dev/null': is not a regular file"));
}

TEST(LoadBackend, NamesAMissingFile) {
  const auto backend = Load("/nowhere/at/all.so");
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), Code::kNotFound);
  EXPECT_THAT(backend.status().message(), HasSubstr("'/nowhere/at/all.so': No such file"));
}

TEST(LoadBackend, RefusesAnEmptyPathAndANul) {
  EXPECT_EQ(Load("").status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Load(Fake("refusing") + std::string(1, '\0') + "x").status().code(),
            Code::kInvalidArgument);
}

TEST(LoadBackend, RefusesAFileThatEveryoneMayWrite) {
  const Folder folder;
  const fs::path copy = folder.path() / "open.so";
  fs::copy_file(Fake("refusing"), copy);
  ASSERT_EQ(chmod(copy.c_str(), 0757), 0);
  const auto backend = Load(copy.string());
  ASSERT_FALSE(backend.ok());
  EXPECT_THAT(backend.status().message(), HasSubstr("everyone may write it"));
  ASSERT_EQ(chmod(copy.c_str(), 0755), 0);
  EXPECT_TRUE(Load(copy.string()).ok());
}

TEST(LoadBackend, FollowsLinksAndChecksWhatTheyLeadTo) {
  const Folder folder;
  const fs::path link = folder.path() / "link.so";
  fs::create_symlink(Fake("refusing"), link);
  const auto backend = Load(link.string());
  ASSERT_TRUE(backend.ok()) << backend.status().message();
  EXPECT_THAT((*backend)->origin(), HasSubstr("/refusing.so'"));
  EXPECT_THAT((*backend)->origin(), Not(HasSubstr("link.so")));

  const fs::path open = folder.path() / "target.so";
  fs::copy_file(Fake("refusing"), open);
  ASSERT_EQ(chmod(open.c_str(), 0757), 0);
  fs::create_symlink(open, folder.path() / "to_open.so");
  EXPECT_THAT(Load((folder.path() / "to_open.so").string()).status().message(),
              HasSubstr("everyone may write it"));

  fs::create_symlink(folder.path() / "gone", folder.path() / "dangling.so");
  EXPECT_THAT(Load((folder.path() / "dangling.so").string()).status().message(),
              HasSubstr("dangling.so': No such file or directory (a link that leads nowhere)"));

  fs::create_symlink(folder.path() / "loop.so", folder.path() / "loop.so");
  EXPECT_FALSE(Load((folder.path() / "loop.so").string()).ok());
}

TEST(LoadBackend, SaysWhatAnOptionGotWrong) {
  const auto backend = Load(Fake("refusing"), {{"colour", "blue"}});
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().code(), Code::kInvalidArgument);
  EXPECT_THAT(backend.status().message(), HasSubstr("on principle"));
}

TEST(LoadedBackend, RefusesInItsOwnWords) {
  const auto backend = Load(Fake("refusing"));
  ASSERT_TRUE(backend.ok());
  EXPECT_EQ((*backend)->name(), "refusing");
  EXPECT_EQ((*backend)->version(), "1.2.3");
  EXPECT_EQ((*backend)->domain(), "host");
  const Status status = (*backend)->Supports({});
  EXPECT_EQ(status.code(), Code::kUnimplemented);
  EXPECT_EQ(status.message(),
            "backend 'refusing' refuses: on principle, this backend serves nothing");
}

TEST(LoadedBackend, TextsWithoutAnEndAreCutAtTheirBounds) {
  const auto backend = Load(Fake("unterminated"));
  ASSERT_TRUE(backend.ok());
  EXPECT_EQ((*backend)->info().device, std::string(127, 'd'));
  EXPECT_EQ((*backend)->Supports({}).message(), "backend 'fake' refuses: " + std::string(512, 'x'));
}

TEST(LoadedBackend, ARefusalWithoutWordsSaysSo) {
  const auto backend = Load(Fake("silent"));
  ASSERT_TRUE(backend.ok());
  EXPECT_EQ((*backend)->Supports({}).message(),
            "backend 'fake' refuses: not supported (the backend gave no reason)");
}

TEST(LoadedBackend, AnUnknownReturnCodeIsAnInternalError) {
  const auto backend = Load(Fake("unknown_code"));
  ASSERT_TRUE(backend.ok());
  const Status status = (*backend)->Supports({});
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(status.message(), HasSubstr("unknown return code 77: on principle"));
}

TEST(LoadedBackend, ExceptionsStopAtTheWall) {
  auto loaded = Load(Fake("throwing"));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const std::shared_ptr<Backend> backend = *loaded;
  EXPECT_EQ(backend->Supports({}).code(), Code::kInternal);
  EXPECT_EQ(backend->Supports({}).message(), "backend 'throwing' threw in supports: no? manners");
  EXPECT_THAT(backend->PackRecipe({}, 0).status().message(), HasSubstr("thrown by pack_recipe"));
  EXPECT_THAT(backend->Pack({}, 0, {}, {}, nullptr, nullptr).message(),
              HasSubstr("thrown by pack"));
  EXPECT_EQ(backend->Allocate(64).status().code(), Code::kResourceExhausted);
  EXPECT_THAT(backend->Copy(nullptr, nullptr, 1, UNETD_COPY_WITHIN).message(),
              HasSubstr("no std::exception"));
  backend->Free(backend.get(), 64);
  unetd_op_desc desc{};
  desc.kind = UNETD_OP_CONV2D;
  EXPECT_THAT(backend->Prepare(desc).status().message(), HasSubstr("thrown by prepare"));
  desc.kind = UNETD_OP_LINEAR;
  auto prepared = backend->Prepare(desc);
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared->Run({}, {}).message(), "backend 'throwing' threw in run: thrown by run");
  EXPECT_THAT(Load(Fake("throwing"), {{"colour", "blue"}}).status().message(),
              HasSubstr("threw in open: colour"));
}  // Release and close throw here.

}  // namespace
}  // namespace unetd
