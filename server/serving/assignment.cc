#include "server/serving/assignment.h"

#include <algorithm>
#include <random>
#include <utility>

#include "server/base/hash.h"
#include "server/base/text.h"

namespace unetd {
namespace {

// The upper 53 bits, all that a double holds.
double PointOf(uint64_t hash) { return static_cast<double>(hash >> 11) * 0x1p-53; }

uint64_t RandomBits() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return generator();
}

}  // namespace

Assignment::Assignment(std::string model, std::vector<Arm> arms)
    : model_(std::move(model)), arms_(std::move(arms)) {
  double largest = 0;
  for (const Arm& arm : arms_) largest = std::max(largest, arm.weight);
  for (Arm& arm : arms_) sum_ += arm.weight /= largest;  // so that no sum is too large
}

double Assignment::Share(size_t arm) const { return arms_[arm].weight / sum_; }

size_t Assignment::ArmAt(double point) const {
  double end = 0;
  size_t last = 0;
  for (size_t i = 0; i < arms_.size(); ++i) {
    if (arms_[i].weight <= 0) continue;
    end += arms_[i].weight;
    last = i;
    if (point * sum_ < end) return i;
  }
  return last;  // the sum was rounded
}

StatusOr<size_t> Assignment::Choose(std::string_view pinned, std::string_view id) const {
  if (!pinned.empty()) {
    std::string known;
    for (size_t i = 0; i < arms_.size(); ++i) {
      if (arms_[i].name == pinned) return i;
      if (!known.empty()) known += ", ";
      known += arms_[i].name;
    }
    return NotFound(
        Format("model {} has no variant {}; it has: {}", Quoted(model_), Quoted(pinned), known));
  }
  return ArmAt(PointOf(id.empty() ? RandomBits() : StableHash(id, StableHash(model_))));
}

}  // namespace unetd
