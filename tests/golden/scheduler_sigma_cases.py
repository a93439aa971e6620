"""Cases of the schedulers that go by sigma: Euler, Euler ancestral, Heun, DPM-Solver, UniPC."""

from scheduler_case import Case, Refused

CASES = []
SPACINGS = ("leading", "trailing", "linspace")
CURVES = ("karras", "exponential")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SDXL = dict(**SD, timestep_spacing="leading", steps_offset=1)
V = dict(prediction_type="v_prediction")
SIGMA_MIN = dict(final_sigmas_type="sigma_min")


def add(scheduler, name, steps=5, start=0, scale=1.0, channels=1, **config):
    CASES.append(Case(scheduler, name, config, steps, start, {}, scale, channels))


def adder(scheduler):
    return lambda name, **rest: add(scheduler, name, **rest)


def add_common(case, kinds):
    """What every class has: its defaults, betas, spacings, predictions, a late start."""
    case("defaults")
    case("one_step", steps=1, **SD)
    for schedule in BETAS:
        # From far up the cosine's noise, diffusers' ancestral steps are NaN.
        far = dict(timestep_spacing="leading", prediction_type=kinds[-1])
        case(f"betas_{schedule}", beta_schedule=schedule, steps=4, **far)
    case("trained_betas", num_train_timesteps=6, steps=3, trained_betas=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
    for spacing in SPACINGS:
        # 1000 / 7 is no whole number.
        case(f"spacing_{spacing}", steps=7, timestep_spacing=spacing, steps_offset=1, **SD)
    for kind in kinds:
        case(f"kind_{kind}", prediction_type=kind, steps=4, **SD)
    case("late_start", steps=6, start=2, **SD)


def add_curves(case, **config):
    for curve in CURVES:
        case(f"{curve}", steps=6, **{f"use_{curve}_sigmas": True}, **config)
        case(f"{curve}_one_step", steps=1, **{f"use_{curve}_sigmas": True}, **config)
        case(f"{curve}_trailing", timestep_spacing="trailing", **{f"use_{curve}_sigmas": True}, **config)


euler = adder("EulerDiscreteScheduler")
add_common(euler, ("epsilon", "sample", "v_prediction"))
add_curves(euler, **SD)
euler("sdxl", steps=8, **SDXL)
euler("sigma_min", **SDXL, **SIGMA_MIN)
euler("log_linear", interpolation_type="log_linear", **SD)
euler("log_linear_karras", interpolation_type="log_linear", use_karras_sigmas=True, **SD)
euler("continuous", timestep_type="continuous", **V, **SD)
# The continuous timesteps are of v_prediction only.
euler("continuous_epsilon", timestep_type="continuous", **SD)
SVD = dict(sigma_min=0.002, sigma_max=700.0, timestep_type="continuous", use_karras_sigmas=True, **V)
euler("video", steps=6, timestep_spacing="leading", steps_offset=1, **SVD, **SD)
euler("exponential_range", use_exponential_sigmas=True, sigma_min=0.05, sigma_max=20.0, **SD)
euler("zero_snr", rescale_betas_zero_snr=True, timestep_spacing="trailing", **V, **SD)

ancestral = adder("EulerAncestralDiscreteScheduler")
add_common(ancestral, ("epsilon", "v_prediction"))
ancestral("turbo", steps=4, timestep_spacing="trailing", **SD)
ancestral("turbo_one_step", steps=1, timestep_spacing="trailing", **SD)
ancestral("zero_snr", rescale_betas_zero_snr=True, timestep_spacing="trailing", **V, **SD)

heun = adder("HeunDiscreteScheduler")
add_common(heun, ("epsilon", "sample", "v_prediction"))
add_curves(heun, **SD)
heun("betas_exp", beta_schedule="exp", steps=3)
heun("clip_sample", clip_sample=True, clip_sample_range=1.5, scale=3.0, **V, **SD)

dpm = adder("DPMSolverMultistepScheduler")
add_common(dpm, ("epsilon", "sample", "v_prediction"))
for order in (1, 2, 3):
    for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"):
        if (order, algorithm) == (3, "sde-dpmsolver"):
            continue  # diffusers has no formula for it
        for solver in ("midpoint", "heun"):
            if order != 2 and solver == "heun":
                continue  # only the second order has two
            name = algorithm.replace("++", "_pp").replace("-", "_")
            dpm(
                f"{name}_{order}_{solver}",
                steps=6,
                algorithm_type=algorithm,
                solver_order=order,
                solver_type=solver,
                lower_order_final=order != 3,
                **(SD if "++" in algorithm else {**SD, **SIGMA_MIN}),
            )
for kind in ("sample", "v_prediction"):
    dpm(f"dpmsolver_{kind}", algorithm_type="dpmsolver", prediction_type=kind, **SIGMA_MIN, **SD)
for curve in CURVES:
    for order in (2, 3):
        dpm(f"{curve}_{order}", steps=6, solver_order=order, **{f"use_{curve}_sigmas": True}, **SD)
# With more steps two have one timestep, and diffusers begins at the second.
dpm("karras_cosine", steps=3, use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2")
dpm("karras_sigma_min", use_karras_sigmas=True, **SIGMA_MIN, **SD)
dpm("karras_sde", use_karras_sigmas=True, algorithm_type="sde-dpmsolver++", **SDXL)
dpm("lu", steps=6, use_lu_lambdas=True, **SD)
dpm("lu_cosine", use_lu_lambdas=True, beta_schedule="squaredcos_cap_v2")
# 15 steps are the first that keep their order to the end.
dpm("fifteen_steps", steps=15, solver_order=3, **SIGMA_MIN, **SD)
dpm("fifteen_steps_to_zero", steps=15, start=11, solver_order=3, **SD)
dpm("euler_at_final", euler_at_final=True, lower_order_final=False, **SIGMA_MIN, **SD)
dpm("no_lower_order", lower_order_final=False, **SIGMA_MIN, **SD)
dpm("high_order", steps=7, solver_order=5, **SD)
dpm("late_start_3", steps=9, start=3, solver_order=3, **SD)
dpm("lambda_min_clipped", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1)
for spacing in SPACINGS:
    dpm(f"lambda_min_{spacing}", lambda_min_clipped=-1.5, timestep_spacing=spacing, steps_offset=1, **SD)
dpm("thresholding", thresholding=True, sample_max_value=1.5, scale=2.0, **SD)
dpm(
    "thresholding_noise",
    algorithm_type="dpmsolver",
    thresholding=True,
    dynamic_thresholding_ratio=0.8,
    sample_max_value=2.0,
    **SIGMA_MIN,
    **SD,
)
dpm("learned", variance_type="learned", channels=2, **SD)
dpm("learned_range", variance_type="learned_range", channels=2, algorithm_type="sde-dpmsolver++", **SD)
dpm("learned_noise", variance_type="learned_range", channels=2, algorithm_type="dpmsolver", **SIGMA_MIN)
dpm("names_of_others", algorithm_type="deis", solver_type="logrho", **SIGMA_MIN, **SD)
dpm("zero_snr", rescale_betas_zero_snr=True, timestep_spacing="trailing", **V, **SD)

unipc = adder("UniPCMultistepScheduler")
add_common(unipc, ("epsilon", "sample", "v_prediction"))
for solver in ("bh1", "bh2"):
    for order in (1, 2, 3, 4):
        # diffusers gives NaN where bh1 goes to no noise at all.
        final = SIGMA_MIN if solver == "bh1" else {}
        unipc(f"{solver}_{order}", steps=7, solver_type=solver, solver_order=order, **final, **SD)
        unipc(
            f"{solver}_{order}_noise",
            steps=7,
            solver_type=solver,
            solver_order=order,
            predict_x0=False,
            **SIGMA_MIN,
            **SD,
        )
for kind in ("sample", "v_prediction"):
    unipc(f"noise_{kind}", predict_x0=False, prediction_type=kind, **SIGMA_MIN, **SD)
for curve in CURVES:
    unipc(f"{curve}", steps=6, **{f"use_{curve}_sigmas": True}, **SD)
    unipc(f"{curve}_sigma_min", steps=6, **{f"use_{curve}_sigmas": True}, **SIGMA_MIN, **SD)
unipc("karras_3", steps=8, solver_order=3, use_karras_sigmas=True, **SD)
unipc("karras_cosine", use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2")
unipc("karras_range", use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0, **SD)
unipc("range_sigma_min", use_karras_sigmas=True, sigma_min=0.1, **SIGMA_MIN, **SD)
unipc("disable_corrector", steps=6, disable_corrector=[0, 2], **SD)
unipc("no_lower_order", steps=6, solver_order=3, lower_order_final=False, **SIGMA_MIN, **SD)
unipc("late_start_3", steps=9, start=3, solver_order=3, **SD)
unipc("sigma_min", **SIGMA_MIN, **SDXL)
unipc("thresholding", thresholding=True, sample_max_value=1.5, scale=2.0, **SD)
# With predict_x0 false it does nothing.
unipc("thresholding_noise", thresholding=True, scale=2.0, predict_x0=False, **SIGMA_MIN, **SD)
unipc("names_of_others", solver_type="midpoint", **SD)
unipc("zero_snr", rescale_betas_zero_snr=True, timestep_spacing="trailing", **V, **SD)

BOTH_CURVES = dict(use_karras_sigmas=True, use_exponential_sigmas=True)
REFUSED = [
    Refused(scheduler, "both_curves", BOTH_CURVES, "one curve of sigmas only")
    for scheduler in (
        "EulerDiscreteScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    )
] + [
    Refused(
        "EulerDiscreteScheduler",
        "no_steps",
        dict(timestep_spacing="leading"),
        "at least one step",
        steps=0,
    ),
    Refused("EulerDiscreteScheduler", "betas_exp", dict(beta_schedule="exp"), "Heun's only"),
    Refused(
        "EulerDiscreteScheduler",
        "interpolation",
        dict(interpolation_type="cubic"),
        "linear or log_linear",
    ),
    Refused(
        "EulerAncestralDiscreteScheduler",
        "kind_sample",
        dict(prediction_type="sample"),
        "epsilon or v_prediction",
    ),
    Refused("HeunDiscreteScheduler", "spacing", dict(timestep_spacing="karras"), "no such spacing"),
    Refused(
        "DPMSolverMultistepScheduler",
        "noise_to_zero",
        dict(algorithm_type="dpmsolver"),
        "it divides by the last sigma",
    ),
    Refused(
        "DPMSolverMultistepScheduler",
        "sde_third_order",
        dict(algorithm_type="sde-dpmsolver", solver_order=3, **SIGMA_MIN),
        "there is no formula for it",
    ),
    Refused(
        "DPMSolverMultistepScheduler",
        "algorithm",
        dict(algorithm_type="ddim"),
        "no such algorithm_type",
    ),
    Refused(
        "DPMSolverMultistepScheduler",
        "final_sigmas",
        dict(final_sigmas_type="one"),
        "zero or sigma_min",
    ),
    Refused("UniPCMultistepScheduler", "solver", dict(solver_type="bh3"), "bh1 or bh2"),
    Refused(
        "UniPCMultistepScheduler",
        "shift_terminal",
        dict(shift_terminal=0.1),
        "of flow matching only",
    ),
]
