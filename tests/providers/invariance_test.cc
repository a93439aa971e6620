// Promise 2 by memcmp: on a backend that says batch_invariant, a row's bits are the same alone and
// in a batch of any size, in any slot, with 1 thread or 2, in whatever order the tasks run, and
// prepared anew.
#include <gtest/gtest.h>

#include <map>

#include "tests/providers/cases.h"
#include "tests/providers/providers.h"
#include "tests/support/operator_run.h"

namespace unetd::test {
namespace {

constexpr uint32_t kRows = 8;

// Rows `first`, first + 1, ... round kRows, so that a row meets other neighbours in every batch.
std::vector<uint32_t> Batch(uint32_t first, uint32_t size) {
  std::vector<uint32_t> rows;
  for (uint32_t i = 0; i < size; ++i) rows.push_back((first + i) % kRows);
  return rows;
}

// A permutation of the slots, with a hole before them.
std::vector<uint32_t> Slots(uint32_t size, uint32_t turn) {
  std::vector<uint32_t> slots;
  for (uint32_t i = 0; i < size; ++i)
    slots.push_back(1 + (i * 3 + turn) % (size % 3 == 0 ? size + 1 : size));
  return slots;
}

// Runs case `test` on `backend` in every way. False if the backend refuses it, with its words in
// `why`.
bool CheckCase(const std::shared_ptr<Backend>& backend, const std::shared_ptr<Backend>& domain,
               OperatorCase test, std::string* why) {
  SCOPED_TRACE(test.name);
  test.rows = kRows;
  const auto runner = OperatorRunner::Create(backend, domain, test);
  if (!runner.ok() && runner.status().code() == Code::kUnimplemented) {
    *why = runner.status().message();
    return false;
  }
  const auto again = OperatorRunner::Create(backend, domain, test);
  EXPECT_TRUE(runner.ok() && again.ok()) << runner.status().message();
  if (!runner.ok() || !again.ok()) return true;

  std::vector<std::vector<uint8_t>> alone;
  for (uint32_t row = 0; row < kRows; ++row) {
    const auto run = runner->Run({.rows = {row}});
    EXPECT_TRUE(run.ok()) << run.status().message();
    if (!run.ok()) return true;
    alone.push_back(run->bytes[0]);
  }
  for (uint32_t size = 1; size <= kRows; ++size) {
    for (uint32_t threads : {1u, 2u}) {
      const RunSetup setup{.rows = Batch(size, size),
                           .slots = Slots(size, threads),
                           .threads = threads,
                           .order = size % 2 == 0 ? TaskOrder::kBackward : TaskOrder::kForward};
      const auto run = (size % 2 == 0 ? *again : *runner).Run(setup);
      EXPECT_TRUE(run.ok()) << run.status().message();
      for (uint32_t i = 0; run.ok() && i < size; ++i) {
        EXPECT_TRUE(run->bytes[i] == alone[setup.rows[i]])
            << runner->prepared().description() << ": row " << setup.rows[i] << " differs in slot "
            << setup.slots[i] << " of a batch of " << size << " with " << threads << " thread(s)";
      }
    }
  }
  return true;
}

// The cases that differ in their dtype alone, by their common name. Rows that attend to one another
// are one group and are not of this promise.
std::map<std::string, std::vector<size_t>> Families() {
  std::map<std::string, std::vector<size_t>> families;
  for (size_t i = 0; i < AllCases().size(); ++i) {
    if (AllCases()[i].desc.kind == UNETD_OP_GATHER_ROWS) continue;
    const std::string& name = AllCases()[i].name;
    families[name.substr(0, name.rfind('_'))].push_back(i);
  }
  return families;
}

std::vector<std::string> FamilyNames() {
  std::vector<std::string> names;
  for (const auto& [name, indices] : Families()) names.push_back(name);
  return names;
}

class Invariance : public ::testing::TestWithParam<std::tuple<Provider, std::string>> {};

TEST_P(Invariance, ARowsBitsAreItsOwn) {
  const auto& [provider, family] = GetParam();
  const auto opened = Opened(provider);
  if (!opened.ok()) GTEST_SKIP() << "not opened: " << opened.status().message();
  const std::shared_ptr<Backend> backend = *opened;
  if (backend->info().batch_invariant == 0)
    GTEST_SKIP() << backend->name() << " does not promise it";
  const std::shared_ptr<Backend> domain = DomainOf(backend);
  if (domain == nullptr)
    GTEST_SKIP() << "no backend here owns the domain '" << backend->domain() << "'";
  std::string refusals;
  const std::vector<size_t> cases = Families().at(family);
  for (size_t index : cases) {
    std::string why;
    if (!CheckCase(backend, domain, AllCases()[index], &why))
      refusals += AllCases()[index].name + " " + why + "; ";
  }
  if (!refusals.empty()) GTEST_SKIP() << "refused: " << refusals;
}

INSTANTIATE_TEST_SUITE_P(All, Invariance,
                         ::testing::Combine(::testing::ValuesIn(PluginProviders()),
                                            ::testing::ValuesIn(FamilyNames())),
                         [](const auto& info) {
                           return std::get<0>(info.param).label + "_" + std::get<1>(info.param);
                         });

// The reference promises it too, and takes no shortcuts: one case of each kind will do.
TEST(ReferenceInvariance, ARowsBitsAreItsOwn) {
  std::map<uint32_t, OperatorCase> one;
  for (const OperatorCase& test : AllCases()) {
    if (test.desc.kind != UNETD_OP_GATHER_ROWS) one.emplace(test.desc.kind, test);
  }
  for (const auto& [kind, test] : one) {
    std::string why;
    EXPECT_TRUE(CheckCase(Reference(), Reference(), test, &why)) << why;
  }
}

}  // namespace
}  // namespace unetd::test
