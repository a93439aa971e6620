#include "tests/unetctl/fake_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "server/base/text.h"

namespace unetd::unetctl {

FakeServer::FakeServer() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(static_cast<v1::Admin::Service*>(this));
  builder.RegisterService(static_cast<v1::Denoiser::Service*>(this));
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() {
  server_->Shutdown();
  server_->Wait();
}

Connection FakeServer::Connect() const {
  Connection connection;
  connection.address = Format("127.0.0.1:{}", port_);
  connection.Open();
  return connection;
}

std::vector<v1::DenoiseRequest> FakeServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

grpc::Status FakeServer::ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                                    v1::ListModelsResponse* response) {
  for (int i = 0; i < models; ++i) {
    v1::Model& model = *response->add_models();
    model.set_name(i == 0 ? "digits" : Format("other{}", i));
    model.set_max_batch(2);
    model.set_in_channels(1);
    model.set_out_channels(1);
    model.set_parameters(1'690'000);
    v1::ImageSize& size = *model.add_shapes();
    size.set_height(2);
    size.set_width(2);
    for (const char* name : {"baseline", "sliced"}) {
      v1::Variant& variant = *model.add_variants();
      variant.set_name(name);
      variant.set_share(0.5);
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::DescribeModel(grpc::ServerContext*, const v1::DescribeModelRequest*,
                                       v1::DescribeModelResponse*) {
  return {grpc::StatusCode::NOT_FOUND, "no such\nmodel"};
}

grpc::Status FakeServer::Denoise(grpc::ServerContext*, const v1::DenoiseRequest* request,
                                 grpc::ServerWriter<v1::DenoiseResponse>* writer) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(*request);
  }
  const std::string variant = request->variant().empty() ? "baseline" : request->variant();
  if (variant != "baseline" && variant != "sliced" && variant != "silent" && variant != "short") {
    return {grpc::StatusCode::NOT_FOUND, "no variant " + variant};
  }
  v1::DenoiseResponse event;
  event.mutable_accepted()->set_variant(variant);
  event.mutable_accepted()->set_plan_bytes(1'000'000 * request->seeds_size());
  writer->Write(event);
  for (int step = 0; step < request->num_inference_steps(); ++step) {
    event.mutable_progress()->set_step(step);
    event.mutable_progress()->set_ms(3);
    writer->Write(event);
  }
  if (variant == "silent") return grpc::Status::OK;
  v1::Tensor& sample = *event.mutable_result()->mutable_sample();
  sample.set_datatype("FP32");
  *sample.mutable_shape() = request->shape();
  for (const int64_t seed : request->seeds()) {
    const float value = static_cast<float>(seed) / 10 + (variant == "sliced" ? 0.25F : 0);
    for (int pixel = 0; pixel < 4; ++pixel) {
      sample.mutable_raw()->append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
  }
  if (variant == "short") sample.mutable_raw()->pop_back();
  writer->Write(event);
  return grpc::Status::OK;
}

}  // namespace unetd::unetctl
