"""The server's messages and calls, as the descriptors in services.binpb have them.

They have a pool of their own: tritonclient puts messages of the same names into protobuf's common pool, and both may be
used in one process.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

__all__ = ["DecodeError", "call", "message"]


@functools.lru_cache(maxsize=None)
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    data = resources.files("unetd").joinpath("services.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:  # what is imported comes first
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@functools.lru_cache(maxsize=None)
def message(name: str) -> Any:
    """The class of a message, e.g. "unetd.v1.Tensor"."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def call(channel: grpc.Channel, service: str, name: str) -> Any:
    """A call of a service, e.g. "unetd.v1.Denoiser" and "Step", to be made over this channel."""
    method = _pool().FindServiceByName(service).FindMethodByName(name)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    return make(
        f"/{service}/{name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
