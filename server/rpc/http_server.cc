#include "server/rpc/http_server.h"

#include <civetweb.h>

#include <cstring>
#include <string_view>

#include "server/base/text.h"
#include "server/rpc/metrics.h"

namespace unetd {
namespace {

void Answer(mg_connection* connection, int code, const char* reason, const char* type,
            std::string_view body) {
  const bool head = std::strcmp(mg_get_request_info(connection)->request_method, "HEAD") == 0;
  mg_printf(
      connection,
      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
      "Connection: close\r\n\r\n",
      code, reason, type, body.size());
  if (!head) mg_write(connection, body.data(), body.size());
}

void AnswerHealth(mg_connection* connection, bool good, const char* key) {
  const std::string body = Format("{{\"{}\":{}}}\n", key, good);
  Answer(connection, good ? 200 : 503, good ? "OK" : "Service Unavailable", "application/json",
         body);
}

}  // namespace

StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const Server& server,
                                                        const std::string& address) {
  if (address.starts_with('[') && mg_check_feature(MG_FEATURES_IPV6) == 0) {
    return Unavailable(
        Format("server.http_address: expected an IPv4 address or a name, got {}: the civetweb of "
               "this machine is built without IPv6",
               Quoted(address)));
  }
  std::unique_ptr<HttpServer> http(new HttpServer(server));
  const char* options[] = {"listening_ports",
                           address.c_str(),
                           "num_threads",
                           "32",
                           "request_timeout_ms",
                           "2000",
                           "enable_directory_listing",
                           "no",
                           nullptr};
  mg_callbacks callbacks{};
  // civetweb's own lines would go to stderr past the log's format; what matters is in the answer.
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  http->context_ = mg_start(&callbacks, nullptr, options);
  if (http->context_ == nullptr) {
    return Unavailable(
        Format("server.http_address: cannot listen on {} (is the port in use?)", Quoted(address)));
  }
  mg_set_request_handler(http->context_, "/", &HttpServer::Handle, http.get());
  mg_server_port ports[1]{};
  const size_t colon = address.rfind(':');
  http->address_ = address;
  if (mg_get_server_ports(http->context_, 1, ports) == 1 && colon != std::string::npos) {
    http->address_ = Format("{}:{}", address.substr(0, colon), ports[0].port);
  }
  return http;
}

HttpServer::~HttpServer() {
  if (context_ != nullptr) mg_stop(context_);
}

int HttpServer::Handle(mg_connection* connection, void* self) {
  const Server& server = static_cast<HttpServer*>(self)->server_;
  const mg_request_info& request = *mg_get_request_info(connection);
  const std::string_view method = request.request_method;
  const std::string_view path = request.local_uri ? request.local_uri : "";
  if (method != "GET" && method != "HEAD") {
    Answer(connection, 405, "Method Not Allowed", "text/plain", "expected GET or HEAD\n");
  } else if (path == "/metrics") {
    Answer(connection, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", MetricsText(server));
  } else if (path == "/v2/health/live") {
    AnswerHealth(connection, server.live(), "live");
  } else if (path == "/v2/health/ready") {
    AnswerHealth(connection, server.ready(), "ready");
  } else {
    Answer(connection, 404, "Not Found", "text/plain",
           "here are /metrics, /v2/health/live and /v2/health/ready\n");
  }
  return 1;
}

}  // namespace unetd
