"""Whole denoising loops, or single steps of them, on the server."""

from __future__ import annotations

import json
import numbers
import uuid
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    AbstractSet,
    Any,
    Callable,
    Dict,
    Iterable,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypedDict,
    Union,
)

import grpc

from unetd import _protocol, _tensors
from unetd._client import Client
from unetd.denoising import Denoising, Preview, Progress, Result, StepResult, step_result_of
from unetd.retry import Retry

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from unetd._tensors import Array

_SERVICE = "unetd.v1.Denoiser"


class _Options(TypedDict, total=False):
    # The options of both calls; "Array" is an array of NumPy or a tensor of torch. proto/unetd/v1/denoiser.proto tells
    # more of each. B: pictures of a request, C H W: a latent.
    id: str  # the same id gets the same variant where none is named
    scheduler: Union[Mapping[str, Any], str, Any]  # a config, a class by name, or a scheduler of diffusers
    num_inference_steps: int  # of the whole loop; 50
    conditions: Mapping[str, Array]  # the UNet's other inputs by name, first dimension B
    negative_conditions: Mapping[str, Array]  # the same for the rows without the prompt
    guidance_scale: float  # classifier-free guidance when > 1
    guidance_rescale: float  # 0 to 1
    eta: float  # DDIM and TCD: how much noise is added, 0 to 1
    seeds: Union[int, Sequence[int]]  # B of them
    noise: Array  # of every step [steps,B,C,H,W], or of the one step; instead of drawing it from the seeds
    start_noise: Array  # [B,C,H,W]: standard normal, instead of drawing it from the seeds
    image_latents: Array  # [B,C,H,W]: of the picture to start from, or to keep outside of the mask
    mask: Array  # [B,1,H,W]: 1 where to paint, 0 where to keep
    masked_image_latents: Array  # [B,C,H,W]: of the picture without the painted part
    concat_latents: Array  # [B,extra,H,W]: what such UNets are shown beside the sample
    negative_concat_latents: Array  # for the rows without the prompt
    use_clipped_model_output: bool  # DDIM
    priority: int  # 0: the model's own; 1: highest; larger numbers wait longer


class DenoiseOptions(_Options, total=False):
    """The options of `Denoiser.denoise`. The loop starts from `latents`, `image_latents`, or noise of `shape`."""

    latents: Array  # [B,C,H,W]: the loop's sample at start_step as it is
    shape: Sequence[int]  # [B,C,H,W]
    start_step: int  # the first step to run; later than 0 for image-to-image
    end_step: int  # the step to stop before; 0: run to the last
    preview_every: int  # a preview after every so many steps


class StepOptions(_Options, total=False):
    """The options of `Denoiser.step`."""

    step_index: int  # which step of the loop, from 0
    timestep: float  # or: the step by its timestep
    state: bytes  # as the previous step returned it


class Denoiser:
    """A model that denoises on the server.

    `address` is host:port. `variant` pins a variant for all calls; without one the server draws by the variants'
    weights, or by a call's `id`. `timeout` is in seconds, for each call unless the call has its own. `credentials` are
    for a TLS proxy before the server. Any thread may call.

    Tensors of torch among a call's inputs: the results are such tensors, on the device of the first one. Otherwise they
    are arrays of NumPy.
    """

    def __init__(
        self,
        address: str,
        model: str,
        variant: Optional[str] = None,
        *,
        timeout: Optional[float] = None,
        retry: Optional[Retry] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
    ) -> None:
        self.model = model
        self.variant = variant
        self._client = Client(address, timeout=timeout, retry=retry, credentials=credentials)
        self._id = f"denoiser-{uuid.uuid4().hex}"  # all steps of a loop are to run in the same variant

    def denoise(
        self,
        *,
        progress: bool = True,
        on_progress: Optional[Callable[[Progress], None]] = None,
        on_preview: Optional[Callable[[Preview], None]] = None,
        timeout: Optional[float] = None,
        **options: Unpack[DenoiseOptions],
    ) -> Result:
        """Denoises to the end; see `DenoiseOptions`. `progress` draws a bar. Ctrl-C stops the server's work, too."""
        if on_preview is not None:
            options.setdefault("preview_every", 1)
        running = self.start(timeout=timeout, **options)
        return running.result(progress=progress, on_progress=on_progress, on_preview=on_preview)

    def start(self, *, timeout: Optional[float] = None, **options: Unpack[DenoiseOptions]) -> Denoising:
        """Starts a denoising; see `DenoiseOptions`. Returns at once; a refusal comes with the first event."""
        request, like = self._request("DenoiseRequest", DenoiseOptions.__optional_keys__, dict(options))
        steps = (request.end_step or request.num_inference_steps or 50) - request.start_step
        return Denoising(self._client.stream(_SERVICE, "Denoise", request, timeout), steps, like)

    def step(self, sample: Array, *, timeout: Optional[float] = None, **options: Unpack[StepOptions]) -> StepResult:
        """One step of the loop from `sample` [B,C,H,W]; see `StepOptions`.

        Without a variant and an `id` the server draws a variant once for each `Denoiser`.
        """
        known = StepOptions.__optional_keys__ | {"sample"}
        request, like = self._request("StepRequest", known, {"sample": sample, "id": self._id, **options})
        return step_result_of(self._client.unary(_SERVICE, "Step", request, timeout), like)

    def close(self) -> None:
        """Closes the connection; what still runs is cancelled."""
        self._client.close()

    def __enter__(self) -> Denoiser:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def _request(
        self, kind: str, known: AbstractSet[str], options: Dict[str, Any]
    ) -> Tuple[Any, Optional[torch.Tensor]]:
        """The message, and the first of its tensors that is torch's."""
        unknown = options.keys() - known
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
        request = _protocol.message(f"unetd.v1.{kind}")(model=self.model, variant=self.variant or "")
        first = None
        for name, value in options.items():
            if value is None:
                continue
            if name == "scheduler":
                request.scheduler_json = scheduler_json(value)
                continue
            if name == "state":
                request.state.extend(_protocol.message("unetd.v1.StepResponse").FromString(value).state)
                continue
            if name == "seeds":
                value = [value] if isinstance(value, numbers.Integral) else value
            for one in value.values() if isinstance(value, Mapping) else [value]:
                first = one if first is None and _tensors.is_torch(one) else first
            _fill(request, name, value)
        return request, first


def _fill(request: Any, name: str, value: Any) -> None:
    """Sets a field: Tensors of arrays, lists of named Tensors of dicts, and what protobuf takes as it is."""
    field = request.DESCRIPTOR.fields_by_name[name]
    if field.message_type is None:
        if isinstance(value, Iterable) and not isinstance(value, str):
            getattr(request, name).extend(int(one) for one in value)
        else:
            setattr(request, name, value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            _set_tensor(getattr(request, name).add(name=key), one)
    else:
        _set_tensor(getattr(request, name), value)


def _set_tensor(tensor: Any, value: Any) -> None:
    tensor.datatype, shape, tensor.raw = _tensors.encode(value)
    tensor.shape.extend(shape)


def scheduler_json(scheduler: Union[Mapping[str, Any], str, Any]) -> str:
    """scheduler_config.json of a config, of a class by its name, or of a scheduler of diffusers."""
    if isinstance(scheduler, str):
        return json.dumps({"_class_name": scheduler})
    if isinstance(scheduler, Mapping):
        return json.dumps(dict(scheduler))
    return str(scheduler.to_json_string())
