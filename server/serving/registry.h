// ModelRegistry: the models that serve, by name and in the config's order.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "server/serving/model.h"

namespace unetd {

// Immutable once it is published.
class ModelRegistry {
 public:
  void Add(std::shared_ptr<const ServedModel> model) { models_.push_back(std::move(model)); }
  // Null if there is none of this name.
  std::shared_ptr<const ServedModel> Find(std::string_view name) const {
    for (const auto& model : models_) {
      if (model->name() == name) return model;
    }
    return nullptr;
  }
  const std::vector<std::shared_ptr<const ServedModel>>& models() const { return models_; }

 private:
  std::vector<std::shared_ptr<const ServedModel>> models_;
};

}  // namespace unetd
