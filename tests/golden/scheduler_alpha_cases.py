"""Cases of the schedulers whose timesteps are whole training timesteps: DDIM, DDPM, LCM, TCD, PNDM."""

from scheduler_case import Case, Refused

CASES = []
SPACINGS = ("leading", "trailing", "linspace")
KINDS = ("epsilon", "sample", "v_prediction")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


def add(scheduler, name, steps=5, start=0, scale=1.0, channels=1, alphas=False, step=None, **config):
    CASES.append(Case(scheduler, name, config, steps, start, step or {}, scale, channels, alphas))


def ddim(name, eta=0.0, clipped=False, **rest):
    step = {"eta": eta, "use_clipped_model_output": clipped}
    add("DDIMScheduler", name, step=step, **rest)


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

ddim("defaults")
ddim("stable_diffusion", steps=7, **SD)
ddim("stable_diffusion_v", **{**SD, "prediction_type": "v_prediction"})
ddim("digits", steps=7, clipped=True, **DIGITS)
# Not eta 1: diffusers then takes the root of a rounding error below zero in the first step.
ddim("digits_noise", eta=0.5, clipped=True, **DIGITS)
for schedule in BETAS:
    for kind in KINDS:
        ddim(
            f"{schedule}_{kind}",
            steps=4,
            beta_schedule=schedule,
            prediction_type=kind,
            alphas=kind == "epsilon",
        )
ddim("trained_betas", num_train_timesteps=6, trained_betas=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
ddim("every_timestep", steps=12, num_train_timesteps=12, clip_sample=False)
for spacing in SPACINGS:
    ddim(f"{spacing}_1_step", steps=1, timestep_spacing=spacing, prediction_type="v_prediction")
    ddim(f"{spacing}_7_steps", steps=7, timestep_spacing=spacing)  # 1000 / 7 is no whole number
    ddim(f"{spacing}_offset", steps=3, timestep_spacing=spacing, steps_offset=2)
ddim("late_start", steps=6, start=2, eta=0.3)
ddim("clip_range", clip_sample_range=2.5, scale=2.0)
ddim("no_clip", clip_sample=False, scale=2.0)
ddim("clip_v", prediction_type="v_prediction", scale=3.0)
ddim("clip_sample_prediction", prediction_type="sample", scale=3.0)
ddim("thresholding", thresholding=True, scale=2.0, sample_max_value=3.0, prediction_type="sample")
ddim("thresholding_ratio", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=9.0)
ddim("thresholding_max_1", thresholding=True, clip_sample=False, scale=2.0)
ddim("thresholding_clipped", thresholding=True, sample_max_value=2.0, clipped=True, eta=0.5)
ddim("alpha_not_one", set_alpha_to_one=False, timestep_spacing="linspace")
ddim("alpha_not_one_noise", set_alpha_to_one=False, eta=1.0)
for kind in KINDS:
    ddim(
        f"zero_snr_{kind}",  # with epsilon the first x0 is infinite and only clipping saves it
        rescale_betas_zero_snr=True,
        prediction_type=kind,
        timestep_spacing="trailing",
        steps=4,
        alphas=kind == "epsilon",
    )
ddim("zero_snr_cosine", rescale_betas_zero_snr=True, alphas=True, **DIGITS)
for eta in (0.5, 1.0):
    for clipped in (False, True):
        name = f"eta_{eta:g}".replace(".", "_") + ("_clipped" if clipped else "")
        ddim(name, eta=eta, clipped=clipped, scale=1.5)
ddim("eta_v", eta=0.5, prediction_type="v_prediction", clip_sample=False)
ddim("eta_sample", eta=1.0, prediction_type="sample", timestep_spacing="trailing")
ddim("clipped", clipped=True, scale=2.0)
ddim("clipped_no_clip", clipped=True, clip_sample=False)


def ddpm(name, **rest):
    add("DDPMScheduler", name, **rest)


ddpm("defaults")
ddpm("cifar", steps=6, variance_type="fixed_large")
for kind in KINDS:
    ddpm(f"{kind}", steps=4, prediction_type=kind, scale=1.5)
for spacing in SPACINGS:
    ddpm(f"{spacing}_7_steps", steps=7, timestep_spacing=spacing)
ddpm("one_step", steps=1)
ddpm("offset", steps=4, steps_offset=1)  # the last timestep is not 0
ddpm("offset_large", steps=4, steps_offset=1, variance_type="fixed_large")  # and it adds noise
for kind in ("fixed_small_log", "fixed_large"):
    ddpm(kind, steps=4, variance_type=kind)
for kind in ("learned", "learned_range"):
    for prediction in ("epsilon", "v_prediction"):
        ddpm(
            f"{kind}_{prediction}",
            steps=4,
            variance_type=kind,
            prediction_type=prediction,
            channels=2,
        )
ddpm(
    "deepfloyd",
    steps=5,
    beta_schedule="squaredcos_cap_v2",
    variance_type="learned_range",
    channels=2,
    thresholding=True,
    dynamic_thresholding_ratio=0.95,
    sample_max_value=1.5,
)
ddpm("sigmoid", steps=4, beta_schedule="sigmoid", alphas=True)
ddpm("laplace", steps=4, beta_schedule="laplace", alphas=True)
ddpm("no_clip", clip_sample=False, beta_schedule="scaled_linear")
ddpm("clip_range", clip_sample_range=2.5, scale=2.0)
ddpm("trained_betas", num_train_timesteps=6, trained_betas=[0.01, 0.02, 0.05, 0.1, 0.2, 0.4])
ddpm("every_timestep", steps=8, num_train_timesteps=8, beta_end=0.3)
ddpm("late_start", steps=6, start=3)
ddpm(
    "zero_snr",
    steps=4,
    rescale_betas_zero_snr=True,
    timestep_spacing="trailing",
    prediction_type="v_prediction",
)


def lcm(name, **rest):
    add("LCMScheduler", name, **rest)


lcm("defaults", steps=4)
lcm("dreamshaper", steps=4, **{**SD, "set_alpha_to_one": True})
for kind in KINDS:
    lcm(kind, steps=3, prediction_type=kind, scale=1.5)
lcm("one_step", steps=1)
lcm("seven_steps", steps=7)  # 50 / 7 is no whole number
lcm("original_100", steps=8, original_inference_steps=100)
lcm("original_30", steps=4, original_inference_steps=30)  # 1000 / 30 is no whole number
lcm("every_original", steps=6, original_inference_steps=6)
lcm("timestep_scaling", steps=4, timestep_scaling=0.01, num_train_timesteps=60)
lcm("clip", steps=4, clip_sample=True, clip_sample_range=1.5, scale=2.0)
lcm("thresholding", steps=4, thresholding=True, sample_max_value=3.0, scale=2.0)
lcm("zero_snr", steps=4, rescale_betas_zero_snr=True, prediction_type="v_prediction")
lcm("linear", steps=4, beta_schedule="linear")
lcm("late_start", steps=6, start=2)


def tcd(name, eta=None, **rest):
    add("TCDScheduler", name, step={} if eta is None else {"eta": eta}, **rest)


tcd("defaults", steps=4)
for eta in (0.0, 0.5, 1.0):
    tcd(f"eta_{eta:g}".replace(".", "_"), steps=4, eta=eta)
for kind in KINDS:
    tcd(kind, steps=3, prediction_type=kind)
tcd("one_step", steps=1)
tcd("seven_steps", steps=7, eta=0.2)
tcd("original_30", steps=4, original_inference_steps=30)
tcd("every_original", steps=6, original_inference_steps=6)
tcd("limits_ignored", steps=4, clip_sample=True, thresholding=True, scale=2.0)
tcd("zero_snr", steps=4, rescale_betas_zero_snr=True, prediction_type="v_prediction")
tcd("late_start", steps=6, start=2)


def pndm(name, **rest):
    add("PNDMScheduler", name, **rest)


SD_PNDM = {**{key: SD[key] for key in SD if key != "clip_sample"}, "skip_prk_steps": True}
pndm("defaults")  # Runge-Kutta
pndm("stable_diffusion", steps=8, **SD_PNDM)
pndm("stable_diffusion_v", steps=7, prediction_type="v_prediction", **SD_PNDM)
for steps in (1, 2, 3, 4):
    pndm(f"plms_{steps}", steps=steps, skip_prk_steps=True)
for spacing in SPACINGS:
    pndm(f"plms_{spacing}", steps=7, timestep_spacing=spacing, skip_prk_steps=True)
    pndm(f"prk_{spacing}", steps=6, timestep_spacing=spacing)
pndm("prk_4", steps=4)
pndm("prk_v", steps=5, prediction_type="v_prediction")
pndm("prk_alpha_to_one", steps=4, set_alpha_to_one=True, beta_schedule="squaredcos_cap_v2")
pndm("alpha_to_one", steps=5, set_alpha_to_one=True, skip_prk_steps=True)
pndm("cosine", steps=5, beta_schedule="squaredcos_cap_v2", skip_prk_steps=True)
pndm("late_start", steps=8, start=3, **SD_PNDM)
pndm("late_start_1", steps=6, start=1, **SD_PNDM)
pndm("trained_betas", steps=4, num_train_timesteps=8, trained_betas=[0.02 * i for i in range(1, 9)])

STEPS_OVER = dict(num_train_timesteps=10)
REFUSED = [
    Refused("DDIMScheduler", "sigmoid", dict(beta_schedule="sigmoid"), "DDIM has none such"),
    Refused("DDIMScheduler", "no_steps", {}, "at least one step", 0),
    Refused("DDIMScheduler", "too_many_steps", STEPS_OVER, "at most num_train_timesteps", 11),
    Refused("DDIMScheduler", "spacing_unknown", dict(timestep_spacing="karras"), "no such spacing"),
    Refused("DDIMScheduler", "prediction_unknown", dict(prediction_type="flow"), "no such type"),
    Refused("DDIMScheduler", "offset_too_far", dict(steps_offset=201), "timestep 1001 is too late"),
    Refused("DDPMScheduler", "exp", dict(beta_schedule="exp"), "only Heun has it"),
    Refused("DDPMScheduler", "too_many_steps", STEPS_OVER, "at most num_train_timesteps", 11),
    Refused("DDPMScheduler", "offset_too_far", dict(steps_offset=201), "timestep 1001 is too late"),
    Refused("DDPMScheduler", "nothing_learned", dict(variance_type="learned"), "outputs are C, not 2C"),
    Refused("LCMScheduler", "laplace", dict(beta_schedule="laplace"), "only DDPM has it"),
    Refused("LCMScheduler", "too_many_steps", {}, "at most original_inference_steps", 51),
    Refused(
        "LCMScheduler", "original_too_many", dict(original_inference_steps=1001), "1000 are trained"
    ),
    Refused("LCMScheduler", "no_steps", {}, "at least one step", 0),
    Refused("TCDScheduler", "too_many_steps", {}, "at most original_inference_steps", 51),
    Refused(
        "TCDScheduler", "original_too_many", dict(original_inference_steps=1001), "1000 are trained"
    ),
    Refused("PNDMScheduler", "sample", dict(prediction_type="sample"), "PNDM takes epsilon and v"),
    Refused("PNDMScheduler", "no_steps", {}, "at least one step", 0),
    Refused("PNDMScheduler", "prk_3", {}, "Runge-Kutta needs 4 timesteps", 3),
    Refused("PNDMScheduler", "offset_too_far", dict(steps_offset=201), "timestep 1001 is too late"),
]
