"""What travels: arrays as InferInputs, raw messages and the Tensors of unetd.v1."""

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2
from unetd_process import PATIENCE

DATATYPES = {
    np.dtype(numpy_type): name
    for name, numpy_type in {
        "BOOL": np.bool_, "FP64": np.float64, "FP32": np.float32, "FP16": np.float16, "BF16": ml_dtypes.bfloat16,
        "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
        "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    }.items()
}  # fmt: skip
NUMPY_TYPES = {name: numpy_type for numpy_type, name in DATATYPES.items()}


def triton_inputs(arrays):
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), DATATYPES[array.dtype])
        tensor.set_data_from_numpy(np.ascontiguousarray(array))
        inputs.append(tensor)
    return inputs


def infer(client, model, arrays, **options):
    """One inference by tritonclient; returns out_sample."""
    return client.infer(model, triton_inputs(arrays), **options).as_numpy("out_sample")


def digits_inputs(side, rows=1):
    """Inputs of the digits model for any image size."""
    return {
        "sample": np.ones((rows, 1, side, side), np.float32),
        "timestep": np.array([500]),
        "encoder_hidden_states": np.zeros((rows, 4, 64), np.float32),
    }


def infer_request(model, arrays, **fields):
    """The same as a message, to be broken on purpose."""
    request = service_pb2.ModelInferRequest(model_name=model, **fields)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=DATATYPES[array.dtype], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def out_sample(response):
    """The array of a ModelInferResponse."""
    (output,) = response.outputs
    flat = np.frombuffer(response.raw_output_contents[0], NUMPY_TYPES[output.datatype])
    return flat.reshape(output.shape)


def refusal(call, *arguments, **options):
    """Calls; returns code and message of the error that must come. A stream is read to its end."""
    with pytest.raises(grpc.RpcError) as caught:
        answer = call(*arguments, **options)
        if isinstance(answer, grpc.Call):
            list(answer)
    return caught.value.code(), caught.value.details()


def expect(stub, request, code, *words):
    """ModelInfer must refuse it: one printable line that holds these words."""
    got, message = refusal(stub.ModelInfer, request, timeout=PATIENCE)
    assert got == grpc.StatusCode[code], message
    for word in words:
        assert word in message
    assert message.isprintable() and len(message) < 1000


class Api:
    """unetd.v1: messages and calls, as the server's own reflection describes them."""

    def __init__(self, channel):
        self._channel = channel
        self._pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))

    def message(self, name):
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"unetd.v1.{name}"))

    def call(self, service, name):
        method = self._pool.FindServiceByName(f"unetd.v1.{service}").FindMethodByName(name)
        make = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        return make(
            f"/unetd.v1.{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )

    def tensor(self, array, name=""):
        return self.message("Tensor")(
            name=name, datatype=DATATYPES[array.dtype], shape=array.shape, raw=array.tobytes()
        )

    def request(self, message_name, **fields):
        """Arrays become Tensors, and dicts and lists of arrays lists of Tensors, with and without names."""
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                fields[name] = self.tensor(value)
            elif isinstance(value, dict):
                fields[name] = [self.tensor(array, key) for key, array in value.items()]
            elif isinstance(value, list) and value and isinstance(value[0], np.ndarray):
                fields[name] = [self.tensor(array) for array in value]
        return self.message(message_name)(**fields)

    def denoise_request(self, **fields):
        return self.request("DenoiseRequest", **fields)

    def denoise(self, timeout=None, **fields):
        """Starts Denoise; returns the call, which yields its events."""
        return self.call("Denoiser", "Denoise")(self.denoise_request(**fields), timeout=timeout)

    def step(self, timeout=None, **fields):
        """One step; returns its StepResponse."""
        return self.call("Denoiser", "Step")(self.request("StepRequest", **fields), timeout=timeout)

    def result(self, **fields):
        """Denoises to the end; returns the sample."""
        return array_of(list(self.denoise(**fields))[-1].result.sample)


def array_of(tensor):
    """The array of a unetd.v1.Tensor."""
    return np.frombuffer(tensor.raw, NUMPY_TYPES[tensor.datatype]).reshape(tensor.shape)
