// `unetctl models` and `unetctl layers`: what a server has loaded, and what runs each layer.
#pragma once

#include <string>

#include "client/unetctl/channel.h"
#include "client/unetctl/failure.h"
#include "unetd/v1/admin.pb.h"

namespace unetd::unetctl {

struct LayersOptions {
  std::string model;    // empty: the server's only one
  std::string variant;  // empty: all
  bool legal = false;   // the processors that a layer may have, instead of those it has
  bool json = false;
};

// An answer as it is, to stdout.
Outcome PrintJson(const google::protobuf::Message& message);

Outcome ShowModels(const Connection& connection, bool json);
Outcome ShowLayers(const Connection& connection, const LayersOptions& options);

// The tables.
std::string ModelsText(const std::vector<v1::Model>& models);
std::string LayersText(const v1::DescribeModelResponse& description, bool legal);

}  // namespace unetd::unetctl
