"""Client of unetd, an inference server for diffusion UNets.

`Denoiser` runs whole denoising loops, or single steps, on the server. `RemoteUNet` is a stand-in for the UNet of a
diffusers pipeline; only this one needs torch and diffusers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unetd import errors
from unetd.denoiser import Denoiser, DenoiseOptions, StepOptions
from unetd.denoising import Accepted, Denoising, Preview, Progress, Result, StepResult
from unetd.errors import UnetdError
from unetd.retry import Retry

if TYPE_CHECKING:
    from unetd.remote_unet import RemoteUNet

__all__ = [
    "Accepted",
    "DenoiseOptions",
    "Denoiser",
    "Denoising",
    "Preview",
    "Progress",
    "RemoteUNet",
    "Result",
    "Retry",
    "StepOptions",
    "StepResult",
    "UnetdError",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name == "RemoteUNet":  # late: it imports torch and diffusers
        from unetd.remote_unet import RemoteUNet

        return RemoteUNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
