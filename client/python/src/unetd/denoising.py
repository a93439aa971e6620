"""A denoising that runs on the server, and what it tells."""

from __future__ import annotations

import dataclasses
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional, Type, Union

import grpc
from tqdm.auto import tqdm

from unetd import _tensors, errors

if TYPE_CHECKING:
    import torch

    from unetd._tensors import Array


@dataclasses.dataclass(frozen=True)
class Accepted:
    """The request was understood and will run: the first event."""

    variant: str
    plan_bytes: int  # what it needs beside the weights


@dataclasses.dataclass(frozen=True)
class Progress:
    """A step is done."""

    step: int  # the step just done, counted from 0 over the whole loop
    total: int  # steps that this request runs
    timestep: float
    ms: float


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """The picture on the way, as the model predicts it."""

    step: int
    sample: Array  # [B,C,H,W]


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The end."""

    sample: Array  # [B,C,H,W]
    variant: str  # which ran


Event = Union[Accepted, Progress, Preview, Result]


@dataclasses.dataclass(frozen=True, eq=False)
class StepResult:
    """One step of the loop."""

    prev_sample: Array  # [B,C,H,W]
    pred_original_sample: Array  # [B,C,H,W]: the picture as the model sees it at this step
    state: bytes  # what the scheduler remembers, for the next step; nobody else reads it
    variant: str
    step_ms: float


class Denoising:
    """A denoising that runs: iterate over its events, or ask for its `result`. Leaving a `with` cancels it.

    One thread reads; any thread may `cancel`.
    """

    def __init__(self, call: grpc.Call, steps: int, like: Optional[torch.Tensor]) -> None:
        self._call: Any = call
        self._steps = steps
        self._like = like

    def cancel(self) -> None:
        """Stops the loop on the server; who reads gets `errors.Cancelled`. Of no effect after the end."""
        self._call.cancel()

    def __iter__(self) -> Iterator[Event]:
        try:
            for response in self._call:
                yield self._event(response)
        except grpc.RpcError as error:
            raise errors.of_rpc(error) from None

    def result(
        self,
        *,
        progress: bool = False,
        on_progress: Optional[Callable[[Progress], None]] = None,
        on_preview: Optional[Callable[[Preview], None]] = None,
    ) -> Result:
        """Waits for the end; `progress` draws a bar meanwhile. Anything raised here, Ctrl-C too, cancels the loop."""
        result = None
        with self, tqdm(total=self._steps, disable=not progress, desc="denoising") as bar:
            for event in self:
                if isinstance(event, Progress):
                    bar.total = event.total  # of UNet calls: some schedulers need more than one a step
                    bar.set_postfix(timestep=f"{event.timestep:g}", refresh=False)
                    bar.update()
                    if on_progress is not None:
                        on_progress(event)
                elif isinstance(event, Preview) and on_preview is not None:
                    on_preview(event)
                elif isinstance(event, Result):
                    result = event  # and on to the stream's end, or the server would see a cancelled call
        if result is None:
            raise errors.Internal("the stream ended without a result")
        return result

    def __enter__(self) -> Denoising:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.cancel()

    def _event(self, response: Any) -> Event:
        kind = response.WhichOneof("event")
        body = getattr(response, kind)
        if kind == "accepted":
            return Accepted(body.variant, body.plan_bytes)
        if kind == "progress":
            return Progress(body.step, body.total, body.timestep, body.ms)
        if kind == "preview":
            return Preview(body.step, array_of(body.sample, self._like))
        return Result(array_of(body.sample, self._like), body.variant)


def array_of(tensor: Any, like: Optional[torch.Tensor]) -> Array:
    """A unetd.v1.Tensor as a tensor beside `like`, or as an array."""
    return _tensors.decode(tensor.datatype, tensor.shape, tensor.raw, like)


def step_result_of(response: Any, like: Optional[torch.Tensor]) -> StepResult:
    """A unetd.v1.StepResponse."""
    return StepResult(
        prev_sample=array_of(response.prev_sample, like),
        pred_original_sample=array_of(response.pred_original_sample, like),
        state=type(response)(state=response.state).SerializeToString(),
        variant=response.variant,
        step_ms=response.step_ms,
    )
