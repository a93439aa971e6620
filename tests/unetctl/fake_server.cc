#include "tests/unetctl/fake_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <thread>

#include "server/base/text.h"

namespace unetd::unetctl {

FakeServer::FakeServer() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(static_cast<v1::Admin::Service*>(this));
  builder.RegisterService(static_cast<v1::Denoiser::Service*>(this));
  builder.RegisterService(static_cast<inference::GRPCInferenceService::Service*>(this));
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
    if (request->preview_every() == 0 || (step + 1) % request->preview_every() != 0) continue;
    event.mutable_preview()->set_step(step);
    v1::Tensor& preview = *event.mutable_preview()->mutable_sample();
    preview.set_datatype("FP32");
    *preview.mutable_shape() = request->shape();
    preview.set_raw(std::string(static_cast<size_t>(request->seeds_size()) * 16, '\0'));
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

grpc::Status FakeServer::Step(grpc::ServerContext*, const v1::StepRequest* request,
                              v1::StepResponse* response) {
  *response->mutable_prev_sample() = request->sample();
  *response->mutable_pred_original_sample() = request->sample();
  *response->mutable_state() = request->state();
  v1::Tensor& state = *response->add_state();
  state.set_name("state");
  state.set_datatype("UINT8");
  state.set_raw(std::string(1, static_cast<char>(request->step_index())));
  response->set_variant("baseline");
  response->set_step_ms(2);
  return grpc::Status::OK;
}

grpc::Status FakeServer::ModelConfig(grpc::ServerContext*, const inference::ModelConfigRequest*,
                                     inference::ModelConfigResponse* response) {
  auto& config = *response->mutable_config();
  const auto add = [&](const char* name, std::vector<int64_t> dims, bool optional) {
    auto& input = *config.add_input();
    input.set_name(name);
    input.set_data_type(inference::TYPE_FP16);
    input.mutable_dims()->Assign(dims.begin(), dims.end());
    input.set_optional(optional);
  };
  add("sample", {1, -1, -1}, false);
  add("timestep", {}, false);
  add("encoder_hidden_states", {-1, 8}, false);
  add("attention_mask", {-1}, true);
  return grpc::Status::OK;
}

grpc::Status FakeServer::ModelInfer(grpc::ServerContext* context,
                                    const inference::ModelInferRequest* request,
                                    inference::ModelInferResponse* response) {
  const int number = ++inferences;
  const auto asked = request->parameters().find("priority");
  priority = asked == request->parameters().end() ? 0 : asked->second.uint64_param();
  while (slow && !context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (fail_every > 0 && number % fail_every == 0) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full"};
  }
  response->set_model_name(request->model_name());
  response->set_id(request->id());
  (*response->mutable_parameters())["variant"].set_string_param("sliced");
  for (int i = 0; i < request->inputs_size(); ++i) {
    if (request->inputs(i).name() != "sample") continue;
    auto& output = *response->add_outputs();
    output.set_name("out_sample");
    output.set_datatype(request->inputs(i).datatype());
    *output.mutable_shape() = request->inputs(i).shape();
    response->add_raw_output_contents(request->raw_input_contents(i));
  }
  return grpc::Status::OK;
}

}  // namespace unetd::unetctl
