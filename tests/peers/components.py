"""What pipelines are made of: golden UNets, and small random parts around them."""

import diffusers
import torch
from goldens import GOLDEN, TOLERANCE

# As Stable Diffusion's schedulers are.
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = {
    diffusers.DDIMScheduler: {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
    diffusers.DDPMScheduler: {"clip_sample": False, "steps_offset": 1},
    diffusers.PNDMScheduler: {"skip_prk_steps": True, "steps_offset": 1},
    diffusers.LCMScheduler: {},
    diffusers.TCDScheduler: {},
}


def local_unet(name):
    return diffusers.UNet2DConditionModel.from_pretrained(GOLDEN / "unet" / name).float().eval()


def scheduler(kind=diffusers.DDIMScheduler, **options):
    return kind(**BETAS, **SCHEDULERS.get(kind, {"steps_offset": 1}), **options)


def vae():
    """Pictures of 8 times the latents' size, as Stable Diffusion's."""
    torch.manual_seed(1)
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()


def controlnet(unet):
    """A ControlNet of this UNet; its last convolutions are zero when training begins, which would say nothing here."""
    torch.manual_seed(2)
    net = diffusers.ControlNetModel.from_unet(unet, conditioning_channels=3).eval()
    for name, parameter in net.named_parameters():
        if name.startswith(("controlnet_down_blocks", "controlnet_mid_block", "controlnet_cond_embedding.conv_out")):
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(count, *shape):
    """What a pipeline draws by and by in `run`, its latents given."""
    generator = torch.Generator().manual_seed(DRAW)
    return torch.stack([torch.randn(*shape, generator=generator) for _ in range(count)])


def picture(unet, rows=1, seed=3):
    side = 8 * unet.config.sample_size
    return torch.rand(rows, 3, side, side, generator=torch.Generator().manual_seed(seed))


def square(unet, rows=1):
    """A mask of the picture: its left half is to be painted."""
    side = 8 * unet.config.sample_size
    mask = torch.zeros(rows, 1, side, side)
    mask[..., : side // 2] = 1
    return mask


def prompts(unet, rows=1):
    width = unet.config.cross_attention_dim
    return {
        "prompt_embeds": random(rows, 7, width, seed=4),
        "negative_prompt_embeds": random(rows, 7, width, seed=5),
    }


def prompts_xl(unet, rows=1):
    pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
    return {
        **prompts(unet, rows),
        "pooled_prompt_embeds": random(rows, pooled, seed=6),
        "negative_pooled_prompt_embeds": random(rows, pooled, seed=7),
    }


DRAW = 8  # the pipelines' own seed

# What the pipelines may do without.
SD = {
    "text_encoder": None, "tokenizer": None, "safety_checker": None, "feature_extractor": None,
    "requires_safety_checker": False,
}  # fmt: skip
XL = {
    "text_encoder": None, "text_encoder_2": None, "tokenizer": None, "tokenizer_2": None, "add_watermarker": False,
}  # fmt: skip


def run(pipeline, unet, parts, **call):
    """The latents that the pipeline makes with this UNet."""
    side = 8 * unet.config.sample_size
    if "image" not in call or "mask_image" in call or "controlnet" in parts:
        call = {"height": side, "width": side, **call}
    call = {"num_inference_steps": 4, "guidance_scale": 5.0, **call}
    pipe = pipeline(**{"vae": None, "scheduler": scheduler(), **parts, "unet": unet})
    pipe.set_progress_bar_config(disable=True)
    return pipe(output_type="latent", generator=torch.Generator().manual_seed(DRAW), **call).images


def assert_same_latents(got, expected):
    """Within the promise of one forward pass, though there were several."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    assert expected.std() > 0 and torch.isfinite(expected).all()
    error = ((got - expected).abs().max() / expected.std()).item()
    assert error <= TOLERANCE, f"off by {error:.2e} of std, allowed {TOLERANCE:.2e}"


def compare(pipeline, local, remote, parts, **call):
    """The pipeline makes the same of both UNets."""
    assert_same_latents(run(pipeline, remote, parts, **call), run(pipeline, local, parts, **call))
