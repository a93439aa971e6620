"""Health, by every protocol that tells it, and reflection."""

import threading

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2
from unetd_process import PATIENCE, slow_to_load, wait_for
from wire import refusal

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
SERVICES = ["", "inference.GRPCInferenceService", "unetd.v1.Denoiser", "unetd.v1.Admin"]


def check(server, service=""):
    stub = health_pb2_grpc.HealthStub(server.channel())
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE).status


class Watch:
    """What Watch has told so far."""

    def __init__(self, server, service=""):
        self.seen, self.code = [], None
        stub = health_pb2_grpc.HealthStub(server.channel())
        self.call = stub.Watch(health_pb2.HealthCheckRequest(service=service))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self.call:
                self.seen.append(answer.status)
        except grpc.RpcError as error:
            self.code = error.code()


def test_triton_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")


def test_unknown_model_is_not_found(stub):
    code, message = refusal(stub.ModelReady, service_pb2.ModelReadyRequest(name="nobody"))
    assert code == grpc.StatusCode.NOT_FOUND
    assert message == "Request for unknown model: 'nobody' is not found"


@pytest.mark.parametrize("service", SERVICES)
def test_check(server, service):
    assert check(server, service) == SERVING


def test_check_of_an_unknown_service(server):
    stub = health_pb2_grpc.HealthStub(server.channel())
    code, _ = refusal(stub.Check, health_pb2.HealthCheckRequest(service="nobody"))
    assert code == grpc.StatusCode.NOT_FOUND
    watch = Watch(server, "nobody")
    wait_for(lambda: watch.seen == [SERVICE_UNKNOWN], "SERVICE_UNKNOWN")
    watch.call.cancel()


def test_watch_from_loading_to_the_end(start):
    server = start([slow_to_load(192)], wait="listening")
    assert check(server) == NOT_SERVING
    assert server.get("/v2/health/live")[0] == 200
    assert server.get("/v2/health/ready")[0] == 503
    watches = [Watch(server, service) for service in SERVICES]
    wait_for(lambda: all(watch.seen[:1] == [NOT_SERVING] for watch in watches), "NOT_SERVING")
    wait_for(lambda: all(watch.seen == [NOT_SERVING, SERVING] for watch in watches), "SERVING")
    server.signal(15)
    wait_for(lambda: all(watch.seen[2:] == [NOT_SERVING] for watch in watches), "NOT_SERVING")
    assert server.wait_exit() == 0
    wait_for(lambda: all(watch.code is not None for watch in watches), "the streams' end")


def test_reflection_lists_every_service(server):
    database = ProtoReflectionDescriptorDatabase(server.channel())
    listed = set(database.get_services())
    assert {*SERVICES[1:], "grpc.health.v1.Health"} <= listed


def test_reflection_describes_the_protocol(server):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(server.channel()))
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    assert "ModelInfer" in service.methods_by_name
    request = pool.FindMessageTypeByName("inference.ModelInferRequest")
    assert request.fields_by_name["raw_input_contents"].number == 7
    denoise = pool.FindServiceByName("unetd.v1.Denoiser").methods_by_name["Denoise"]
    assert denoise.server_streaming
