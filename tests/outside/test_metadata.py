"""Server and model metadata, config, statistics and the repository index, by tritonclient."""

import grpc
import numpy as np
import pytest
from goldens import Call, calls_of
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException
from wire import infer, refusal


def test_server_metadata(client):
    metadata = client.get_server_metadata()
    assert metadata.name == "unetd"
    assert metadata.version.count(".") == 2
    assert "statistics" in metadata.extensions
    assert not any("shared_memory" in extension for extension in metadata.extensions)


def test_model_metadata(client):
    metadata = client.get_model_metadata("digits")
    assert (metadata.name, list(metadata.versions)) == ("digits", ["1"])
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs}
    assert inputs["sample"] == ("FP32", [-1, 1, -1, -1])
    assert inputs["timestep"][1] == [-1]
    assert inputs["encoder_hidden_states"] == ("FP32", [-1, -1, 64])
    (output,) = metadata.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("out_sample", "FP32", [-1, 1, -1, -1])


@pytest.mark.parametrize("model", ["sd15", "sdxl", "class_labels", "lcm", "masks", "residuals"])
def test_metadata_names_every_input_that_is_taken(client, model):
    metadata = client.get_model_metadata(model)
    shapes = {tensor.name: list(tensor.shape) for tensor in metadata.inputs}
    for path in calls_of(model).values():
        for name, array in Call(path).inputs.items():
            assert name in shapes
            assert len(shapes[name]) == array.ndim
            assert all(said in (-1, size) for said, size in zip(shapes[name], array.shape))


def test_metadata_names_no_input_that_is_refused(client):
    names = {tensor.name for tensor in client.get_model_metadata("digits").inputs}
    assert not names & {"class_labels", "timestep_cond", "text_embeds", "time_ids", "hint"}


def test_model_config(client):
    config = client.get_model_config("digits").config
    assert (config.name, config.backend, config.max_batch_size) == ("digits", "cpu", 8)
    assert not config.model_transaction_policy.decoupled
    inputs = {tensor.name: tensor for tensor in config.input}
    assert list(inputs["sample"].dims) == [1, -1, -1]  # without the batch, as Triton has it
    assert not inputs["sample"].optional
    assert inputs["encoder_attention_mask"].optional
    assert [list(tensor.dims) for tensor in config.output] == [[1, -1, -1]]
    said = {key: value.string_value for key, value in config.parameters.items()}
    assert said == {"dtype": "float32", "conv": "auto"}
    batching = config.dynamic_batching
    assert list(batching.preferred_batch_size) == [8]
    assert (batching.max_queue_delay_microseconds, batching.priority_levels) == (0, 8)


def test_json_forms(client):
    assert client.get_server_metadata(as_json=True)["name"] == "unetd"
    assert client.get_model_config("digits", as_json=True)["config"]["max_batch_size"] == 8


def test_repository_index(client):
    index = client.get_model_repository_index()
    states = {(model.name, model.version): model.state for model in index.models}
    assert states["digits", "1"] == states["sd15", "1"] == "READY"


def test_statistics_count_what_ran(client, digit):
    def statistics():
        (model,) = client.get_inference_statistics("variants").model_stats
        return model

    before = statistics()
    infer(client, "variants", digit.inputs, parameters={"variant": "sdpa"})
    infer(client, "variants", digit.inputs, parameters={"variant": "math"})
    with pytest.raises(InferenceServerException):
        infer(client, "variants", {**digit.inputs, "sample": np.zeros((2, 3, 16, 16), np.float32)})
    after = statistics()
    assert (after.name, after.version) == ("variants", "1")
    assert after.inference_count - before.inference_count == 2 * digit.rows
    assert after.execution_count - before.execution_count == 2
    grown = lambda name: (
        getattr(after.inference_stats, name).count - getattr(before.inference_stats, name).count,
        getattr(after.inference_stats, name).ns - getattr(before.inference_stats, name).ns,
    )
    assert grown("fail")[0] == 1
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        count, nanoseconds = grown(part)
        assert count == 2
        assert nanoseconds > 0
    assert grown("success")[1] >= grown("compute_infer")[1]
    assert after.last_inference > 1_600_000_000_000  # milliseconds since 1970
    batches = {batch.batch_size: batch.compute_infer.count for batch in after.batch_stats}
    assert batches[digit.rows] >= 2


def test_statistics_of_all_models(client):
    names = [model.name for model in client.get_inference_statistics().model_stats]
    assert {"digits", "variants", "sd15"} <= set(names)


VERSIONS = {
    "3abc": grpc.StatusCode.INVALID_ARGUMENT,
    "-1": grpc.StatusCode.INVALID_ARGUMENT,
    "0": grpc.StatusCode.INVALID_ARGUMENT,
    " 1": grpc.StatusCode.INVALID_ARGUMENT,
    "2": grpc.StatusCode.NOT_FOUND,
    "99999999999999999999": grpc.StatusCode.NOT_FOUND,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("call", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_versions(stub, call, version):
    request = getattr(service_pb2, f"{call}Request")(name="digits", version=version)
    code, message = refusal(getattr(stub, call), request)
    assert code == VERSIONS[version]
    assert "version" in message and "digits" in message or "integral value > 0" in message


NAMED = ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"]
STRANGERS = ["", "nobody", "../digits", "digits\0", "x" * 65536]


# Statistics without a name are those of all models.
@pytest.mark.parametrize("call,name", [(c, n) for c in NAMED for n in STRANGERS if n or c != "ModelStatistics"])
def test_unknown_models(stub, call, name):
    code, message = refusal(getattr(stub, call), getattr(service_pb2, f"{call}Request")(name=name))
    assert code == grpc.StatusCode.NOT_FOUND
    assert message.startswith("Request for unknown model: '")
    assert len(message) < 200 and message.isprintable()


# What is not offered says so, and the server goes on.
NOT_OFFERED = {
    "load_model": ("digits",),
    "unload_model": ("digits",),
    "get_system_shared_memory_status": (),
    "register_system_shared_memory": ("region", "/region", 64),
    "unregister_system_shared_memory": ("region",),
    "get_cuda_shared_memory_status": (),
    "register_cuda_shared_memory": ("region", b"AAAA", 0, 64),
    "unregister_cuda_shared_memory": ("region",),
    "update_trace_settings": (),
    "get_trace_settings": (),
    "update_log_settings": ({"log_info": True},),
    "get_log_settings": (),
}


@pytest.mark.parametrize("call", NOT_OFFERED)
def test_not_offered(client, call):
    with pytest.raises(InferenceServerException) as caught:
        getattr(client, call)(*NOT_OFFERED[call])
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
    assert client.is_server_ready()
