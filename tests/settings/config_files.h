// A table of configs: what the parser and the schema must both accept, and what both must refuse.
#pragma once

#include <string>
#include <vector>

namespace unetd::test {

// A config with one model whose keys follow `name` and `path`: WithModel(R"("max_batch": 4)").
inline std::string WithModel(const std::string& keys) {
  return R"({"models":[{"name":"m","path":"p")" + (keys.empty() ? "" : "," + keys) + "}]}";
}
inline std::string WithVariant(const std::string& keys) {
  return WithModel(R"("variants":[{"name":"v")" + (keys.empty() ? "" : "," + keys) + "}]");
}
inline std::string WithRule(const std::string& keys) {
  return WithVariant(R"("processors":[{"layers":"*","processor":"P")" +
                     (keys.empty() ? "" : "," + keys) + "}]");
}
inline std::string WithServer(const std::string& keys) {
  return "{\"server\":{" + keys + R"(},"models":[{"name":"m","path":"p"}]})";
}
inline std::string WithLimits(const std::string& keys) {
  return WithServer("\"limits\":{" + keys + "}");
}
inline std::string WithBackends(const std::string& backends) {
  return "{\"backends\":" + backends + R"(,"models":[{"name":"m","path":"p"}]})";
}

inline const std::vector<std::string>& GoodConfigs() {
  static const std::vector<std::string> configs = {
      WithModel(""),
      WithModel(R"("scheduler":"s","backend":"cuda","dtype":"bfloat16","max_batch":1024)"),
      WithModel(R"("dtype":"float16","shapes":[[64,64],[1,8192]])"),
      WithModel(R"("conv":"auto")"),
      WithModel(R"("conv":"direct")"),
      WithModel(R"("conv":"winograd")"),
      WithModel(R"("dynamic_batching":{})"),
      WithModel(R"("dynamic_batching":{"max_batch":1})"),
      WithModel(R"("dynamic_batching":{"max_batch":1024,"max_queue_delay_microseconds":10000000})"),
      WithModel(R"("variants":[{"name":"a","weight":0},{"name":"b","weight":0.5}])"),
      WithVariant(""),
      WithVariant(R"("weight":1e300)"),
      WithVariant(R"("processors":[])"),
      WithRule(""),
      WithRule(R"("backend":"npu","fallback":"sdpa","weights":"w.safetensors")"),
      WithRule(R"("slice_size":1,"attention_op":null,"train_kv":true,"dropout":0.1,"x":"","y":-3)"),
      WithServer(""),
      WithServer(R"("address":"0.0.0.0:0","http_address":"[::1]:65535")"),
      WithServer(R"("address":"my-host.example:80","log_format":"json","log_level":"debug")"),
      WithLimits(""),
      WithLimits(R"("message_mib":2047,"queue":1,"memory_mib":1,"drain_s":0)"),
      WithLimits(R"("drain_s":0.5)"),
      WithBackends(R"([{"name":"cpu"}])"),
      WithBackends(R"([{"name":"x.y_z-1","library":"lib/x.so","options":{}},{"name":"cpu"}])"),
      WithBackends(R"([{"name":"cpu","options":{"a":1,"b":"t","c":null,"d":[1],"e":{"f":2}}}])"),
      R"({"models":[{"name":"a","path":"p"},{"name":"b","path":"p"}]})",
  };
  return configs;
}

struct BadConfig {
  std::string json;
  std::string message;  // what the parser's message begins with
};

// What a schema can tell as well as the parser.
inline const std::vector<BadConfig>& BadConfigs() {
  static const std::vector<BadConfig> configs = {
      {"[]", "the config: expected an object, got an empty list"},
      {"7", "the config: expected an object, got 7"},
      {"{}", "the config: expected the key 'models', which is missing"},
      {R"({"models":[]})", "models: expected a list that is not empty, got an empty list"},
      {R"({"models":{}})", "models: expected a list that is not empty, got an empty object"},
      {R"({"models":[3]})", "models[0]: expected an object, got 3"},
      {R"({"models":[{"name":"m"}]})", "models[0]: expected the key 'path'"},
      {R"({"models":[{"path":"p"}]})", "models[0]: expected the key 'name'"},
      {R"({"modles":[]})", "modles: unknown key; did you mean 'models'?"},
      {R"({"models":[{"name":"m","path":"p"}],"tls":{}})", "tls: unknown key"},
      {R"({"models":[{"name":"","path":"p"}]})", "models[0].name: expected text that is not empty"},
      {R"({"models":[{"name":"a b","path":"p"}]})",
       "models[0].name: expected a name of 1 to 64 letters, digits, '.', '_' or '-'"},
      {R"({"models":[{"name":"../x","path":"p"}]})", "models[0].name: expected a name"},
      {R"({"models":[{"name":".x","path":"p"}]})", "models[0].name: expected a name"},
      {"{\"models\":[{\"name\":\"" + std::string(65, 'x') + R"(","path":"p"}]})",
       "models[0].name: expected a name"},
      {R"({"models":[{"name":7,"path":"p"}]})", "models[0].name: expected text, got 7"},
      {R"({"models":[{"name":"m","path":""}]})", "models[0].path: expected text that is not empty"},
      {R"({"models":[{"name":"m","path":null}]})", "models[0].path: expected text, got null"},
      {WithModel(R"("scheduler":["a"])"), "models[0].scheduler: expected text, got a list"},
      {WithModel(R"("max_bacth":1)"),
       "models[0].max_bacth: unknown key; did you mean 'max_batch'?"},
      {WithModel(R"("zz top":1)"), "models[0]['zz top']: unknown key"},
      {WithModel(R"("conv":"fast")"),
       "models[0].conv: expected one of 'auto', 'direct', 'winograd', got 'fast'"},
      {WithModel(R"("conv":true)"), "models[0].conv: expected one of"},
      {WithModel(R"("conv":"")"), "models[0].conv: expected one of"},
      {WithModel(R"("max_batch":0)"),
       "models[0].max_batch: expected an integer from 1 to 1024, got 0"},
      {WithModel(R"("max_batch":-1)"), "models[0].max_batch: expected an integer from 1 to 1024"},
      {WithModel(R"("max_batch":1025)"), "models[0].max_batch: expected an integer"},
      {WithModel(R"("max_batch":1.5)"), "models[0].max_batch: expected an integer"},
      {WithModel(R"("max_batch":"8")"), "models[0].max_batch: expected an integer"},
      {WithModel(R"("max_batch":99999999999999999999)"),
       "models[0].max_batch: expected an integer"},
      {WithModel(R"("dynamic_batching":true)"),
       "models[0].dynamic_batching: expected an object, got true"},
      {WithModel(R"("dynamic_batching":{"max_rows":4})"),
       "models[0].dynamic_batching.max_rows: unknown key"},
      {WithModel(R"("dynamic_batching":{"max_batch":0})"),
       "models[0].dynamic_batching.max_batch: expected an integer from 1 to 1024, got 0"},
      {WithModel(R"("dynamic_batching":{"max_batch":1025})"),
       "models[0].dynamic_batching.max_batch: expected an integer"},
      {WithModel(R"("dynamic_batching":{"max_queue_delay_microseconds":-1})"),
       "models[0].dynamic_batching.max_queue_delay_microseconds: expected an integer from 0 to "
       "10000000, got -1"},
      {WithModel(R"("dynamic_batching":{"max_queue_delay_microseconds":1e9})"),
       "models[0].dynamic_batching.max_queue_delay_microseconds: expected an integer"},
      {WithModel(R"("dtype":"int8")"),
       "models[0].dtype: expected one of 'float32', 'float16', 'bfloat16', got 'int8'"},
      {WithModel(R"("dtype":32)"), "models[0].dtype: expected one of"},
      {WithModel(R"("backend":"")"), "models[0].backend: expected text that is not empty"},
      {WithModel(R"("backend":"../evil")"), "models[0].backend: expected a name"},
      {WithModel(R"("shapes":[])"), "models[0].shapes: expected a list that is not empty"},
      {WithModel(R"("shapes":[64,64])"), "models[0].shapes[0]: expected [height, width], got 64"},
      {WithModel(R"("shapes":[[64]])"), "models[0].shapes[0]: expected [height, width]"},
      {WithModel(R"("shapes":[[1,2,3]])"), "models[0].shapes[0]: expected [height, width]"},
      {WithModel(R"("shapes":[[64,0]])"),
       "models[0].shapes[0][1]: expected an integer from 1 to 8192, got 0"},
      {WithModel(R"("shapes":[[64,8193]])"), "models[0].shapes[0][1]: expected an integer"},
      {WithModel(R"("shapes":[[8,8],[8,8]])"), "models[0].shapes[1]: expected another shape"},
      {WithModel(R"("variants":[])"), "models[0].variants: expected a list that is not empty"},
      {WithModel(R"("variants":[{}])"), "models[0].variants[0]: expected the key 'name'"},
      {WithVariant(R"("weight":-1)"),
       "models[0].variants[0].weight: expected a number >= 0, got -1"},
      {WithVariant(R"("weight":"1")"),
       "models[0].variants[0].weight: expected a number >= 0, got '1'"},
      {WithVariant(R"("weight":null)"), "models[0].variants[0].weight: expected a number >= 0"},
      {WithVariant(R"("weigth":1)"),
       "models[0].variants[0].weigth: unknown key; did you mean 'weight'?"},
      {WithVariant(R"("processors":{})"), "models[0].variants[0].processors: expected a list"},
      {WithVariant(R"("processors":[{"layers":"*"}])"),
       "models[0].variants[0].processors[0]: expected the key 'processor'"},
      {WithVariant(R"("processors":[{"processor":"P"}])"),
       "models[0].variants[0].processors[0]: expected the key 'layers'"},
      {WithVariant(R"("processors":[{"layers":"","processor":"P"}])"),
       "models[0].variants[0].processors[0].layers: expected text that is not empty"},
      {WithRule(R"("fallback":"math")"),
       "models[0].variants[0].processors[0].fallback: expected 'sdpa', got 'math'"},
      {WithRule(R"("fallback":true)"),
       "models[0].variants[0].processors[0].fallback: expected 'sdpa', got true"},
      {WithRule(R"("weights":1)"), "models[0].variants[0].processors[0].weights: expected text"},
      {WithRule(R"("slice_size":[1])"),
       "models[0].variants[0].processors[0].slice_size: expected null, a boolean, a number or "
       "text"},
      {WithRule(R"("op":{})"), "models[0].variants[0].processors[0].op: expected null"},
      {R"({"server":[],"models":[{"name":"m","path":"p"}]})",
       "server: expected an object, got an empty list"},
      {WithServer(R"("adress":"a:1")"), "server.adress: unknown key; did you mean 'address'?"},
      {WithServer(R"("address":"127.0.0.1")"),
       "server.address: expected host:port with a port from 0 to 65535, got '127.0.0.1'"},
      {WithServer(R"("address":"127.0.0.1:65536")"), "server.address: expected host:port"},
      {WithServer(R"("address":"127.0.0.1:-1")"), "server.address: expected host:port"},
      {WithServer(R"("address":"127.0.0.1:080")"), "server.address: expected host:port"},
      {WithServer(R"("address":":8001")"), "server.address: expected host:port"},
      {WithServer(R"("address":"::1:8001")"), "server.address: expected host:port"},
      {WithServer(R"("address":"a b:1")"), "server.address: expected host:port"},
      {WithServer(R"("address":8001)"), "server.address: expected text, got 8001"},
      {WithServer(R"("http_address":"h:99999")"), "server.http_address: expected host:port"},
      {WithServer(R"("log_format":"xml")"),
       "server.log_format: expected one of 'text', 'json', got 'xml'"},
      {WithServer(R"("log_level":"loud")"), "server.log_level: expected one of"},
      {WithLimits(R"("mesage_mib":1)"),
       "server.limits.mesage_mib: unknown key; did you mean 'message_mib'?"},
      {WithLimits(R"("message_mib":0)"),
       "server.limits.message_mib: expected an integer from 1 to 2047, got 0"},
      {WithLimits(R"("message_mib":2048)"), "server.limits.message_mib: expected an integer"},
      {WithLimits(R"("queue":0)"), "server.limits.queue: expected an integer from 1"},
      {WithLimits(R"("memory_mib":-5)"), "server.limits.memory_mib: expected an integer from 1"},
      {WithLimits(R"("memory_mib":1e300)"), "server.limits.memory_mib: expected an integer from 1"},
      {WithLimits(R"("drain_s":-0.1)"),
       "server.limits.drain_s: expected a number from 0 to 86400, got -0.1"},
      {WithBackends("[]"), "backends: expected a list that is not empty, got an empty list"},
      {WithBackends("[{}]"), "backends[0]: expected the key 'name'"},
      {WithBackends(R"([{"name":"a/b"}])"), "backends[0].name: expected a name"},
      {WithBackends(R"([{"name":"cpu","option":{}}])"),
       "backends[0].option: unknown key; did you mean 'options'?"},
      {WithBackends(R"([{"name":"cpu","options":[]}])"),
       "backends[0].options: expected an object, got an empty list"},
      {WithBackends(R"([{"name":"cpu","library":""}])"), "backends[0].library: expected text"},
  };
  return configs;
}

}  // namespace unetd::test
