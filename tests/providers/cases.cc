#include "tests/providers/cases.h"

namespace unetd::test {

const std::vector<OperatorCase>& AllCases() {
  static const std::vector<OperatorCase> all = [] {
    std::vector<OperatorCase> cases;
    AddConvCases(cases);
    AddLinearCases(cases);
    AddNormCases(cases);
    AddAttentionCases(cases);
    AddMoveCases(cases);
    return cases;
  }();
  return all;
}

}  // namespace unetd::test
