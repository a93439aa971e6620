"""Whole trajectories by diffusers' schedulers, with given model outputs and noise.

schedulers/CLASS/NAME.safetensors holds, float32 [B,C,H,W] unless it says otherwise:
  sample0                  what the first step starts from
  timesteps                all of scheduler.timesteps (int64 or float)
  init_noise_sigma         [1] float64
  input_scale              [len(timesteps)] float64: what scale_model_input multiplies a sample with
  and for each step i that is taken, from `start` on:
  model_output.i           [B,C,H,W], or [B,2C,H,W] where the variance is learned
  noise.i                  if the step's result depends on noise; else the step needs none
  prev_sample.i            what the step gives, and the next one starts from
  pred_original_sample.i   if the class predicts one
  noisy.i                  add_noise(sample0, add_noise, timesteps[i]), for the first and last i
  add_noise                the noise of noisy.i
  alphas_cumprod           [num_train_timesteps], in some
Metadata: scheduler_config (JSON with _class_name), num_inference_steps, start, and eta and
use_clipped_model_output where step() is told. refused.json lists what diffusers raises for,
defaults.json each class's config with nothing said, as save_pretrained writes it.
"""

import copy
import importlib
import json

import diffusers
import torch

import harness
import scheduler_alpha_cases
import scheduler_sigma_cases
from scheduler_case import folder_of

SHAPE = (2, 3, 4, 4)
# Noise that changes a result by less than this, of its largest magnitude, is none.
SILENT = 1e-6

CLASSES = [
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDPM", "DPMSolverMultistep", "EulerAncestralDiscrete", "EulerDiscrete"),
        *("HeunDiscrete", "LCM", "PNDM", "TCD", "UniPCMultistep"),
    )
]

MODULES = (scheduler_alpha_cases, scheduler_sigma_cases)


def cases():
    table = {}
    for case in [case for module in MODULES for case in module.CASES]:
        if case.path in table:
            raise ValueError(f"two cases are named {case.path}")
        table[case.path] = case
    return table


def step_with(scheduler, timestep, output, sample, noise, options):
    """One step whose randn_tensor gives `noise`; returns the output of step()."""
    module = importlib.import_module(type(scheduler).__module__)
    drawn = getattr(module, "randn_tensor", None)
    module.randn_tensor = lambda *args, **kwargs: noise.to(sample.dtype)
    try:
        return scheduler.step(output, timestep, sample, **options)
    finally:
        if drawn is None:
            del module.randn_tensor
        else:
            module.randn_tensor = drawn


def original_of(scheduler, result, timestep, output, sample):
    """What the step thinks the noiseless sample is, or None."""
    if type(scheduler).__name__ in ("TCDScheduler", "PNDMScheduler"):
        # They keep theirs to themselves, or have none: it is DDIM's of the same output.
        config = {**public_config(scheduler), "clip_sample": False, "thresholding": False}
        ddim = diffusers.DDIMScheduler.from_config(config)
        ddim.alphas_cumprod = scheduler.alphas_cumprod
        ddim.set_timesteps(1)
        return ddim.step(output, timestep, sample).pred_original_sample
    for key in ("pred_original_sample", "denoised"):
        if key in result:
            return result[key]
    return None


def trajectory(scheduler, case, sample, outputs, noises):
    """Returns prev_sample, pred_original_sample and whether noise was heard, of every step."""
    scheduler.set_timesteps(case.steps)
    if case.start and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(case.start)
    results = []
    for index, timestep in enumerate(scheduler.timesteps[case.start :]):
        output, noise = outputs[index], noises[index]
        # Euler and Heun ask that it be called before each step.
        scheduler.scale_model_input(sample, timestep)
        other = step_with(copy.deepcopy(scheduler), timestep, output, sample, -noise, case.options)
        step = step_with(scheduler, timestep, output, sample, noise, case.options)
        original = original_of(scheduler, step, timestep, output, sample)
        sample = step.prev_sample
        heard = (sample - other.prev_sample).abs().max() > SILENT * sample.abs().max()
        results.append((sample, original, bool(heard)))
    return results


def check(case, results, sample, outputs, noises):
    """Refuses a golden that fp32 cannot hold; returns the worst error in standard deviations."""
    scheduler = case.make()
    for name in ("alphas_cumprod", "final_alpha_cumprod", "one"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, getattr(scheduler, name).double())
    outputs, noises = [x.double() for x in outputs], [x.double() for x in noises]
    exact = trajectory(scheduler, case, sample.double(), outputs, noises)
    worst = 0.0
    for ours, wanted in zip(results, exact, strict=True):
        for a, b in zip(ours[:2], wanted[:2], strict=True):
            if a is None:
                continue
            worst = max(worst, ((a - b).abs().max() / b.std()).item())
            if not worst < harness.WORST_FP32 or not torch.isfinite(a).all():
                raise RuntimeError(f"schedulers/{case.path}: fp32 is {worst:.3g} of std from fp64")
    return [("", results[-1][0].std().item(), worst)]


def noisy(case, index, sample, noise):
    scheduler = case.make()
    scheduler.set_timesteps(case.steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)
    return scheduler.add_noise(sample, noise, scheduler.timesteps[index : index + 1])


def input_scales(case):
    scales = []
    scheduler = case.make()
    scheduler.set_timesteps(case.steps)
    for index, timestep in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "_step_index"):
            scheduler._step_index = index
        scales.append(scheduler.scale_model_input(torch.ones(1), timestep).item())
    return torch.tensor(scales, dtype=torch.float64)


def public_config(scheduler):
    public = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {**public, "_class_name": type(scheduler).__name__}


def config_text(scheduler):
    return json.dumps(public_config(scheduler), sort_keys=True)


def make(out, case):
    scheduler = case.make()
    scheduler.set_timesteps(case.steps)
    count = len(scheduler.timesteps) - case.start
    rng = harness.rng_of(case.path)
    batch, channels, *size = SHAPE
    sample = harness.normal(rng, *SHAPE)
    output_shape = (batch, channels * case.channels, *size)
    outputs = [harness.normal(rng, *output_shape, scale=case.scale) for _ in range(count)]
    if case.config.get("variance_type") == "learned":
        for output in outputs:
            output[:, channels:].abs_()  # it is the variance itself
    noises = [harness.normal(rng, *SHAPE) for _ in range(count)]
    tensors = {
        "sample0": sample,
        "timesteps": scheduler.timesteps,
        "init_noise_sigma": torch.tensor([float(scheduler.init_noise_sigma)], dtype=torch.float64),
        "input_scale": input_scales(case),
        "add_noise": harness.normal(rng, *SHAPE),
    }
    if case.alphas:
        tensors["alphas_cumprod"] = scheduler.alphas_cumprod
    results = trajectory(case.make(), case, sample, outputs, noises)
    for index, (prev_sample, original, heard) in enumerate(results):
        step = case.start + index
        tensors[f"model_output.{step}"] = outputs[index]
        tensors[f"prev_sample.{step}"] = prev_sample
        if original is not None:
            tensors[f"pred_original_sample.{step}"] = original
        if heard:
            tensors[f"noise.{step}"] = noises[index]
        if index in (0, count - 1):
            tensors[f"noisy.{step}"] = noisy(case, step, sample, tensors["add_noise"])
    harness.save_tensors(
        out / "schedulers" / f"{case.path}.safetensors",
        # Some results share memory.
        {key: value.clone() for key, value in tensors.items()},
        scheduler_config=config_text(scheduler),
        num_inference_steps=str(case.steps),
        start=str(case.start),
        **{key: json.dumps(value) for key, value in case.options.items()},
    )
    return check(case, results, sample, outputs, noises)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def make_refused(out):
    entries = []
    for refused in [refused for module in MODULES for refused in module.REFUSED]:
        try:
            scheduler = getattr(diffusers, refused.scheduler)(**refused.config)
            scheduler.set_timesteps(refused.steps)
            sample = torch.zeros(SHAPE)
            for timestep in scheduler.timesteps:
                scheduler.scale_model_input(sample, timestep)
                sample = scheduler.step(torch.zeros(SHAPE), timestep, sample).prev_sample
        except Exception as error:  # whatever it is, it is what a user would see
            raised = type(error).__name__
        else:
            raise RuntimeError(f"{refused.scheduler}/{refused.name}: diffusers accepts it")
        entries.append(
            {
                "name": f"{folder_of(refused.scheduler)}/{refused.name}",
                "scheduler_config": {"_class_name": refused.scheduler, **refused.config},
                "num_inference_steps": refused.steps,
                "why": refused.why,
                "diffusers_raises": raised,
            }
        )
    write_json(out / "schedulers" / "refused.json", entries)


def make_defaults(out):
    defaults = {name: config_text(getattr(diffusers, name)()) for name in CLASSES}
    write_json(out / "schedulers" / "defaults.json", defaults)


def parts():
    table = {path: lambda out, case=case: make(out, case) for path, case in cases().items()}
    return {**table, "refused": make_refused, "defaults": make_defaults}
