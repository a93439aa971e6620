"""What a call may raise: one class a gRPC status, all of them UnetdError."""

from __future__ import annotations

from typing import Any, ClassVar, Dict, Optional, Type

import grpc

from unetd import _protocol


class UnetdError(Exception):
    """A call that failed; str(error) is the server's message.

    `code` is the gRPC status, `retry_after` the seconds after which the server would like to be asked again, or None
    if that would not help.
    """

    code: ClassVar[grpc.StatusCode]

    def __init__(self, message: str, retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidArgument(UnetdError, ValueError):
    """The request is wrong; the message names the field or tensor, what was expected and what came."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(UnetdError, LookupError):
    """No such model or variant."""

    code = grpc.StatusCode.NOT_FOUND


class ResourceExhausted(UnetdError):
    """The queue is full (then `retry_after` is set), or the request needs more memory than the server may take."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class DeadlineExceeded(UnetdError, TimeoutError):
    """The call's timeout ran out; the server has stopped working on it."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(UnetdError):
    """The call was cancelled."""

    code = grpc.StatusCode.CANCELLED


class Unavailable(UnetdError, ConnectionError):
    """The server cannot be reached, or is about to end."""

    code = grpc.StatusCode.UNAVAILABLE


class Unimplemented(UnetdError, NotImplementedError):
    """The server does not offer this."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(UnetdError):
    """The server failed, and it is not the request's fault."""

    code = grpc.StatusCode.INTERNAL


class Unauthenticated(UnetdError):
    """What stands before the server does not know who asks."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(UnetdError):
    """What stands before the server does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class FailedPrecondition(UnetdError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(UnetdError):
    code = grpc.StatusCode.ABORTED


class AlreadyExists(UnetdError):
    code = grpc.StatusCode.ALREADY_EXISTS


class OutOfRange(UnetdError):
    code = grpc.StatusCode.OUT_OF_RANGE


class DataLoss(UnetdError):
    code = grpc.StatusCode.DATA_LOSS


class Unknown(UnetdError):
    """A failure without a status of its own."""

    code = grpc.StatusCode.UNKNOWN


_CLASSES: Dict[grpc.StatusCode, Type[UnetdError]] = {one.code: one for one in UnetdError.__subclasses__()}


def of_rpc(error: grpc.RpcError) -> UnetdError:
    """The exception for what grpc raised."""
    return _CLASSES.get(error.code(), Unknown)(error.details() or error.code().name, _retry_after(error))


def _retry_after(error: grpc.RpcError) -> Optional[float]:
    metadata: Any = error.trailing_metadata()
    trailers = dict(metadata or ())
    try:
        status = _protocol.message("google.rpc.Status").FromString(trailers.get("grpc-status-details-bin", b""))
        for detail in status.details:
            info = _protocol.message("google.rpc.RetryInfo")()
            if detail.Unpack(info):
                return float(info.retry_delay.seconds + info.retry_delay.nanos * 1e-9)
    except _protocol.DecodeError:  # of some proxy, not the server's
        pass
    return None
