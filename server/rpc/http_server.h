// The HTTP port: /metrics, /v2/health/live and /v2/health/ready.
#pragma once

#include <memory>
#include <string>

#include "server/serving/server.h"

struct mg_context;
struct mg_connection;

namespace unetd {

class HttpServer {
 public:
  // `address` is host:port; port 0 takes any free one. kUnavailable if it cannot be had.
  static StatusOr<std::unique_ptr<HttpServer>> Start(const Server& server,
                                                     const std::string& address);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const std::string& address() const { return address_; }  // with the port that was taken

 private:
  explicit HttpServer(const Server& server) : server_(server) {}
  static int Handle(mg_connection* connection, void* self);

  const Server& server_;
  mg_context* context_ = nullptr;
  std::string address_;
};

}  // namespace unetd
