// Which variant a request gets.
//
// A pinned variant is taken as it is. Otherwise the request's id decides: h = XXH64(id, seed
// XXH64(model name)) / 2^64 is a point in [0, 1), the variants in the config's order share that
// interval by their weights, and the one that holds the point is taken. So one id gets one variant
// on every replica and after every restart, and ids of one model say nothing about another's.
// Without an id the point is random.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/status.h"

namespace unetd {

class Assignment {
 public:
  struct Arm {
    std::string name;
    double weight;  // >= 0; the sum is positive
  };
  Assignment(std::string model, std::vector<Arm> arms);

  // An index into the arms. NOT_FOUND names the variants there are.
  StatusOr<size_t> Choose(std::string_view pinned, std::string_view id) const;
  // The arm's part of all requests that pin none.
  double Share(size_t arm) const;

 private:
  size_t ArmAt(double point) const;

  std::string model_;
  std::vector<Arm> arms_;
  double sum_ = 0;
};

}  // namespace unetd
