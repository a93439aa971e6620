#include "client/unetctl/inspect.h"

#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <set>

#include "client/unetctl/table.h"
#include "server/base/text.h"
#include "unetd/v1/admin.grpc.pb.h"

namespace unetd::unetctl {

Outcome PrintJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) return Failure{kExitLocal, "cannot write the answer as JSON"};
  std::puts(text.c_str());
  return std::nullopt;
}

namespace {

std::string Joined(const std::vector<std::string>& words) {
  return Format("{}", fmt::join(words, ", "));
}

}  // namespace

std::string ModelsText(const std::vector<v1::Model>& models) {
  Table table({{"model", false},
               {"class", false},
               {"ready", false},
               {"dtype", false},
               {"backend", false},
               {"parameters", true},
               {"sizes", false},
               {"max batch", true},
               {"scheduler", false},
               {"variants (share)", false}});
  for (const v1::Model& model : models) {
    std::vector<std::string> sizes;
    for (const v1::ImageSize& size : model.shapes()) {
      sizes.push_back(Format("{}x{}", size.height(), size.width()));
    }
    std::vector<std::string> variants;
    for (const v1::Variant& variant : model.variants()) {
      variants.push_back(Format("{} ({:.0f}%)", variant.name(), variant.share() * 100));
    }
    table.AddRow({model.name(), model.class_name(), model.ready() ? "yes" : "no", model.dtype(),
                  model.backend(),
                  Format("{:.2f} M", static_cast<double>(model.parameters()) / 1e6), Joined(sizes),
                  Format("{}", model.max_batch()),
                  model.scheduler().empty() ? "-" : model.scheduler(), Joined(variants)});
  }
  return table.Text();
}

std::string LayersText(const v1::DescribeModelResponse& description, bool legal) {
  std::vector<Table::Column> columns = {
      {"layer", false}, {"kind", false}, {"heads x dim", true}, {"query", true}, {"cross", true}};
  const std::vector<Table::Column> more =
      legal ? std::vector<Table::Column>{{"legal processors", false}}
            : std::vector<Table::Column>{{"variant", false},   {"processor", false},
                                         {"algorithm", false}, {"backend", false},
                                         {"rule", false},      {"options", false}};
  columns.insert(columns.end(), more.begin(), more.end());
  Table table(columns);
  std::set<std::string> notes;
  for (const v1::Layer& layer : description.layers()) {
    std::vector<std::string> head = {layer.name(), layer.kind(),
                                     Format("{} x {}", layer.heads(), layer.head_dim()),
                                     Format("{}", layer.query_dim()),
                                     layer.cross_dim() > 0 ? Format("{}", layer.cross_dim()) : "-"};
    if (legal || layer.bindings().empty()) {
      if (legal) {
        head.push_back(Joined({layer.legal_processors().begin(), layer.legal_processors().end()}));
      }
      table.AddRow(head);
      continue;
    }
    for (const v1::Binding& binding : layer.bindings()) {
      std::vector<std::string> row = head;
      row.insert(row.end(), {binding.variant(), binding.processor(),
                             binding.algorithm() + (binding.fallback() ? " (fallback)" : ""),
                             binding.backend(), binding.rule(), binding.options()});
      table.AddRow(row);
      head.assign(head.size(), "");  // said once for all variants of a layer
      for (const std::string& refusal : binding.refusals()) {
        notes.insert(Format("refused for variant {}, {}: {}", Printable(binding.variant()),
                            Printable(layer.name()), Printable(refusal)));
      }
    }
  }
  std::string text = table.Text();
  for (const std::string& note : notes) text += note + "\n";
  return text;
}

Outcome ShowModels(const Connection& connection, bool json) {
  std::vector<v1::Model> models;
  if (Outcome failure = FetchModels(connection, &models)) return failure;
  if (json) {
    v1::ListModelsResponse response;
    response.mutable_models()->Assign(models.begin(), models.end());
    return PrintJson(response);
  }
  std::fputs(ModelsText(models).c_str(), stdout);
  return std::nullopt;
}

Outcome ShowLayers(const Connection& connection, const LayersOptions& options) {
  v1::DescribeModelRequest request;
  request.set_model(options.model);
  request.set_variant(options.variant);
  if (options.model.empty()) {
    v1::Model model;
    if (Outcome failure = FetchModel(connection, "", &model)) return failure;
    request.set_model(model.name());
  }
  grpc::ClientContext context;
  connection.Prepare(context);
  v1::DescribeModelResponse response;
  const auto stub = v1::Admin::NewStub(connection.channel);
  const grpc::Status status = stub->DescribeModel(&context, request, &response);
  if (!status.ok()) return RpcFailure(status, connection.address);
  if (options.json) return PrintJson(response);
  std::fputs(LayersText(response, options.legal).c_str(), stdout);
  return std::nullopt;
}

}  // namespace unetd::unetctl
