// Every provider against the reference provider, on every case that it serves. What it refuses is
// skipped, with the reason that it gave.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/providers/cases.h"
#include "tests/providers/compare.h"
#include "tests/providers/providers.h"
#include "tests/support/operator_run.h"

namespace unetd::test {
namespace {

// What the reference provider says of case `index`; kept, since several providers ask.
const RunResult& Expected(size_t index) {
  static std::map<size_t, RunResult> results;
  auto it = results.find(index);
  if (it != results.end()) return it->second;
  RunResult result;
  auto runner = OperatorRunner::Create(Reference(), Reference(), AllCases()[index]);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (runner.ok()) {
    auto run = runner->Run({.threads = 2});
    EXPECT_TRUE(run.ok()) << run.status().message();
    if (run.ok()) result = *std::move(run);
  }
  return results.emplace(index, std::move(result)).first->second;
}

class ProviderCase : public ::testing::TestWithParam<std::tuple<Provider, size_t>> {};

TEST_P(ProviderCase, MatchesTheReference) {
  const auto& [provider, index] = GetParam();
  const OperatorCase& test = AllCases()[index];
  const auto opened = Opened(provider);
  if (!opened.ok()) GTEST_SKIP() << "not opened: " << opened.status().message();
  const std::shared_ptr<Backend> backend = *opened;
  const std::shared_ptr<Backend> domain = DomainOf(backend);
  if (domain == nullptr)
    GTEST_SKIP() << "no backend here owns the domain '" << backend->domain() << "'";
  auto runner = OperatorRunner::Create(backend, domain, test);
  if (!runner.ok() && runner.status().code() == Code::kUnimplemented) {
    GTEST_SKIP() << "refused: " << runner.status().message();
  }
  ASSERT_TRUE(runner.ok()) << runner.status().message();
  for (uint32_t threads : {1u, 2u}) {
    const auto got = runner->Run({.threads = threads});
    ASSERT_TRUE(got.ok()) << got.status().message();
    const Difference difference = Compare(test, *got, Expected(index));
    RecordProperty("worst", std::to_string(difference.worst));
    EXPECT_LE(difference.worst, 1) << runner->prepared().description() << ", " << threads
                                   << " thread(s): " << difference.where;
  }
}

std::vector<size_t> Indices() {
  std::vector<size_t> indices(AllCases().size());
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = i;
  return indices;
}

INSTANTIATE_TEST_SUITE_P(All, ProviderCase,
                         ::testing::Combine(::testing::ValuesIn(PluginProviders()),
                                            ::testing::ValuesIn(Indices())),
                         [](const auto& info) {
                           return std::get<0>(info.param).label + "_" +
                                  AllCases()[std::get<1>(info.param)].name;
                         });

TEST(Providers, CasesHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const OperatorCase& test : AllCases())
    EXPECT_TRUE(names.insert(test.name).second) << test.name;
}

// The reference serves all cases, so that no other provider is compared with nothing.
TEST(Providers, TheReferenceServesEveryCase) {
  for (const OperatorCase& test : AllCases()) {
    const Status status = Reference()->Supports(test.desc);
    EXPECT_TRUE(status.ok()) << test.name << ": " << status.message();
  }
}

// A backend that refused everything would pass by skipping, so the default backend must serve every
// kind and dtype.
TEST(Providers, TheCpuBackendServesEveryKindInEveryDType) {
  bool opened_any = false;
  for (const Provider& provider : PluginProviders()) {
    if (!provider.label.starts_with("cpu_")) continue;
    const auto backend = Opened(provider);
    if (!backend.ok()) continue;
    opened_any = true;
    std::map<std::pair<uint32_t, int32_t>, std::string> refused;
    std::set<std::pair<uint32_t, int32_t>> served;
    for (const OperatorCase& test : AllCases()) {
      const std::pair<uint32_t, int32_t> key(test.desc.kind, test.desc.args[UNETD_ARG_DST].dtype);
      const Status status = (*backend)->Supports(test.desc);
      if (status.ok()) served.insert(key);
      if (!status.ok()) refused.emplace(key, test.name + ": " + status.message());
    }
    for (const auto& [key, words] : refused)
      EXPECT_TRUE(served.contains(key)) << provider.label << ": " << words;
  }
  EXPECT_TRUE(opened_any) << "no cpu provider opened; looked in " UNETD_BUILD_DIR "/lib/unetd";
}

// So must the memory_efficient backend serve every case of its algorithm.
TEST(Providers, TheMemoryEfficientBackendServesEveryCaseOfItsAlgorithm) {
  int asked = 0;
  for (const Provider& provider : PluginProviders()) {
    if (!provider.label.starts_with("memory_efficient_")) continue;
    const auto backend = Opened(provider);
    for (const OperatorCase& test : AllCases()) {
      if (!backend.ok() || test.desc.kind != UNETD_OP_ATTENTION ||
          test.desc.u.attention.algorithm != UNETD_ATTENTION_MEMORY_EFFICIENT) {
        continue;
      }
      const Status status = (*backend)->Supports(test.desc);
      EXPECT_TRUE(status.ok()) << provider.label << ", " << test.name << ": " << status.message();
      ++asked;
    }
  }
  EXPECT_GT(asked, 0) << "nothing was asked; looked in " UNETD_BUILD_DIR "/lib/unetd";
}

}  // namespace
}  // namespace unetd::test
