// The tensors of one request against what a model declares: names, dtypes, ranks, fixed dims,
// batches.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "server/unet/unet_inputs.h"

namespace unetd {

class RequestInputs {
 public:
  // Both must outlive this object, and so must what Check is given.
  RequestInputs(const std::string& model, const std::vector<InputDecl>& declared)
      : model_(model), declared_(declared) {}

  // Every name is declared and there once, has an accepted dtype, and nothing required is missing.
  Status CheckNames(const std::vector<NamedShape>& sent);
  // Ranks and fixed dims as declared; -1 there is any size from 1, and dim 0 the batch.
  Status CheckDims(int64_t batch) const;

  // Null if it was not sent.
  const NamedShape* Find(const std::string& name) const;
  // How many of `prefix`0, `prefix`1, ... were sent; INVALID_ARGUMENT if there is a gap.
  StatusOr<uint32_t> CountIndexed(const std::string& prefix) const;

  // "unexpected shape for input ...", with `why` behind it.
  Status Wrong(const NamedShape& input, const Shape& expected, const std::string& why = "") const;

 private:
  Status CheckNoneMissing() const;
  std::string DeclaredNames() const;

  const std::string& model_;
  const std::vector<InputDecl>& declared_;
  std::map<std::string, const NamedShape*> sent_;
};

}  // namespace unetd
