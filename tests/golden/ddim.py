"""Whole DDIM trajectories by diffusers' DDIMScheduler, with given model outputs and noise."""

import json

import torch
from diffusers import DDIMScheduler

import harness

SHAPE = (2, 3, 4, 4)
CASES = {}


def case(name, steps=5, eta=0.0, clipped=False, scale=1.0, **config):
    """scale: of the model's outputs; above 1 they run into clipping and thresholding."""
    if name in CASES:
        raise ValueError(f"two cases are named {name}")
    CASES[name] = (config, steps, eta, clipped, scale)


SD = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
)
DIGITS = dict(
    beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction",
    timestep_spacing="trailing",
)

case("defaults")
case("stable_diffusion", steps=7, **SD)
case("stable_diffusion_v", **{**SD, "prediction_type": "v_prediction"})
case("digits", steps=7, clipped=True, **DIGITS)
# Not eta 1: diffusers then takes the root of a rounding error below zero in the first step.
case("digits_noise", eta=0.5, clipped=True, **DIGITS)
for schedule in ("linear", "scaled_linear", "squaredcos_cap_v2"):
    for kind in ("epsilon", "sample", "v_prediction"):
        case(f"{schedule}_{kind}", steps=4, beta_schedule=schedule, prediction_type=kind)
case("trained_betas", num_train_timesteps=6, trained_betas=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
case("every_timestep", steps=12, num_train_timesteps=12, clip_sample=False)
for spacing in ("leading", "trailing", "linspace"):
    case(f"{spacing}_1_step", steps=1, timestep_spacing=spacing, prediction_type="v_prediction")
    case(f"{spacing}_7_steps", steps=7, timestep_spacing=spacing)  # 1000 / 7 is no whole number
    case(f"{spacing}_offset", steps=3, timestep_spacing=spacing, steps_offset=2)
case("clip_range", clip_sample_range=2.5, scale=2.0)
case("no_clip", clip_sample=False, scale=2.0)
case("clip_v", prediction_type="v_prediction", scale=3.0)
case("clip_sample_prediction", prediction_type="sample", scale=3.0)
case("thresholding", thresholding=True, scale=2.0, sample_max_value=3.0, prediction_type="sample")
case("thresholding_ratio", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=9.0)
case("thresholding_max_1", thresholding=True, clip_sample=False, scale=2.0)
case("thresholding_clipped", thresholding=True, sample_max_value=2.0, clipped=True, eta=0.5)
case("alpha_not_one", set_alpha_to_one=False, timestep_spacing="linspace")
case("alpha_not_one_noise", set_alpha_to_one=False, eta=1.0)
for kind in ("epsilon", "sample", "v_prediction"):
    case(
        f"zero_snr_{kind}",  # with epsilon the first x0 is infinite and only clipping saves it
        rescale_betas_zero_snr=True,
        prediction_type=kind,
        timestep_spacing="trailing",
        steps=4,
    )
case("zero_snr_cosine", rescale_betas_zero_snr=True, **DIGITS)
for eta in (0.5, 1.0):
    for clipped in (False, True):
        name = f"eta_{eta:g}".replace(".", "_") + ("_clipped" if clipped else "")
        case(name, eta=eta, clipped=clipped, scale=1.5)
case("eta_v", eta=0.5, prediction_type="v_prediction", clip_sample=False)
case("eta_sample", eta=1.0, prediction_type="sample", timestep_spacing="trailing")
case("clipped", clipped=True, scale=2.0)
case("clipped_no_clip", clipped=True, clip_sample=False)


def trajectory(scheduler, steps, eta, clipped, sample, outputs, noises):
    """Returns prev_sample and pred_original_sample of every step."""
    scheduler.set_timesteps(steps)
    results = []
    for timestep, output, noise in zip(scheduler.timesteps, outputs, noises, strict=True):
        step = scheduler.step(
            output,
            timestep,
            sample,
            eta=eta,
            use_clipped_model_output=clipped,
            variance_noise=noise if eta > 0 else None,
        )
        sample = step.prev_sample
        results.append((step.prev_sample, step.pred_original_sample))
    return results


def check(name, scheduler, results, steps, eta, clipped, sample, outputs, noises):
    """Refuses a golden that fp32 cannot hold; returns the worst error in standard deviations."""
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    outputs, noises = [x.double() for x in outputs], [x.double() for x in noises]
    exact = trajectory(scheduler, steps, eta, clipped, sample.double(), outputs, noises)
    worst = 0.0
    for ours, wanted in zip(results, exact, strict=True):
        for a, b in zip(ours, wanted, strict=True):
            worst = max(worst, ((a - b).abs().max() / b.std()).item())
            if not worst < harness.WORST_FP32 or not torch.isfinite(a).all():
                raise RuntimeError(f"ddim/{name}: fp32 is {worst:.3g} of std from fp64")
    return [("", results[-1][0].std().item(), worst)]


def make(out, name):
    config, steps, eta, clipped, scale = CASES[name]
    scheduler = DDIMScheduler(**config)
    rng = harness.rng_of(f"ddim/{name}")
    sample = harness.normal(rng, *SHAPE)
    outputs = [harness.normal(rng, *SHAPE, scale=scale) for _ in range(steps)]
    noises = [harness.normal(rng, *SHAPE) for _ in range(steps)]
    results = trajectory(scheduler, steps, eta, clipped, sample, outputs, noises)
    tensors = {
        "sample0": sample,
        "timesteps": scheduler.timesteps,
        "alphas_cumprod": scheduler.alphas_cumprod,
    }
    for index, (prev_sample, original) in enumerate(results):
        tensors[f"model_output.{index}"] = outputs[index]
        tensors[f"prev_sample.{index}"] = prev_sample
        tensors[f"pred_original_sample.{index}"] = original
        if eta > 0:
            tensors[f"noise.{index}"] = noises[index]
    public = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    public["_class_name"] = "DDIMScheduler"
    harness.save_tensors(
        out / "ddim" / f"{name}.safetensors",
        tensors,
        scheduler_config=json.dumps(public, sort_keys=True),
        num_inference_steps=str(steps),
        eta=str(eta),
        use_clipped_model_output="true" if clipped else "false",
    )
    return check(name, scheduler, results, steps, eta, clipped, sample, outputs, noises)


REFUSED = [
    ("sigmoid", dict(beta_schedule="sigmoid"), 5, "DDIM has no such beta_schedule"),
    ("no_steps", {}, 0, "at least one step"),
    ("too_many_steps", dict(num_train_timesteps=10), 11, "at most num_train_timesteps steps"),
    ("spacing_unknown", dict(timestep_spacing="karras"), 5, "leading, trailing or linspace"),
    ("prediction_unknown", dict(prediction_type="flow"), 5, "epsilon, sample or v_prediction"),
    ("offset_too_far", dict(steps_offset=201), 5, "timestep 1001 is past the last of training"),
]


def make_refused(out):
    """Writes the configs that diffusers raises for, in the constructor or until the first step."""
    entries = []
    for name, config, steps, why in REFUSED:
        zero = torch.zeros(SHAPE)
        zeros = [zero] * steps
        try:
            trajectory(DDIMScheduler(**config), steps, 0.0, False, zero, zeros, zeros)
        except Exception as error:  # whatever it is, it is what a user would see
            entries.append(
                {
                    "name": name,
                    "scheduler_config": config,
                    "num_inference_steps": steps,
                    "why": why,
                    "diffusers_raises": type(error).__name__,
                }
            )
        else:
            raise RuntimeError(f"ddim/{name}: diffusers accepts it")
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (out / "ddim").mkdir(parents=True, exist_ok=True)
    (out / "ddim" / "refused.json").write_text(f"[\n{lines}\n]\n")


def parts():
    table = {name: lambda out, name=name: make(out, name) for name in CASES}
    return {**table, "refused": make_refused}
