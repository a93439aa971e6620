"""One scheduler trajectory to be made: which class and config, how many steps, what step() is told."""

import dataclasses

import diffusers


@dataclasses.dataclass(frozen=True)
class Case:
    """Its file is schedulers/FOLDER/NAME.safetensors; folder is the class's, see folder_of."""

    scheduler: str  # "DDIMScheduler"
    name: str
    config: dict  # what differs from the class's defaults
    steps: int = 5
    start: int = 0  # the first step taken, as an image-to-image pipeline starts late
    options: dict = dataclasses.field(default_factory=dict)  # of step(): eta, use_clipped_model_output
    scale: float = 1.0  # of the model's outputs; above 1 they run into clipping and thresholding
    channels: int = 1  # times the sample's, that the model gives: 2 where it learns the variance
    alphas: bool = False  # store alphas_cumprod, too

    @property
    def path(self):
        return f"{folder_of(self.scheduler)}/{self.name}"

    def make(self):
        return getattr(diffusers, self.scheduler)(**self.config)


@dataclasses.dataclass(frozen=True)
class Refused:
    """What diffusers raises for: in the constructor, in set_timesteps or in a step."""

    scheduler: str
    name: str
    config: dict
    why: str
    steps: int = 5


def folder_of(scheduler):
    """DDIMScheduler -> ddim, EulerDiscreteScheduler -> eulerdiscrete."""
    return scheduler.removesuffix("Scheduler").lower()
