"""The connection: calls by name, with timeouts, retries and this package's errors."""

from __future__ import annotations

import time
from typing import Any, Optional

import grpc

from unetd import _protocol, errors
from unetd.retry import Retry

# What a message may weigh is the server's to say (server.limits.message_mib).
_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Client:
    def __init__(
        self,
        address: str,
        *,
        timeout: Optional[float] = None,
        retry: Optional[Retry] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
    ) -> None:
        self.timeout = timeout
        self._retry = retry or Retry()
        if credentials is None:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=_OPTIONS)

    def close(self) -> None:
        self._channel.close()

    def unary(self, service: str, name: str, request: Any, timeout: Optional[float] = None) -> Any:
        """Calls, again if the retry allows it, within the timeout; returns the response."""
        timeout = self.timeout if timeout is None else timeout
        end = None if timeout is None else time.monotonic() + timeout
        failed = 0
        while True:
            try:
                return self._once(service, name, request, None if end is None else end - time.monotonic())
            except errors.UnetdError as error:
                failed += 1
                delay = self._retry.delay(failed, error)
                if delay is None or (end is not None and time.monotonic() + delay >= end):
                    raise
            time.sleep(delay)

    def _once(self, service: str, name: str, request: Any, timeout: Optional[float]) -> Any:
        running = _protocol.call(self._channel, service, name).future(request, timeout=timeout)
        try:
            return running.result()
        except grpc.RpcError as error:
            raise errors.of_rpc(error) from None
        finally:
            running.cancel()  # of no effect once it is done; else Ctrl-C stops the server's work, too

    def stream(self, service: str, name: str, request: Any, timeout: Optional[float] = None) -> Any:
        """Starts a call whose answer is a stream; returns the call."""
        timeout = self.timeout if timeout is None else timeout
        return _protocol.call(self._channel, service, name)(request, timeout=timeout)

    def describe(self, model: str) -> Any:
        """unetd.v1.DescribeModelResponse of this model."""
        request = _protocol.message("unetd.v1.DescribeModelRequest")(model=model)
        return self.unary("unetd.v1.Admin", "DescribeModel", request)
