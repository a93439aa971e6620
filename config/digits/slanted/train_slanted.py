"""Teaches the shipped digits model one new token, "slanted", by Custom Diffusion.

Only new weights are trained: K, V, Q and out of every cross-attention layer, and the token. The
base's weights stay as they are, bit for bit. Writes pytorch_custom_diffusion_weights.safetensors
(diffusers' save_attn_procs) and conditions.safetensors (see README.md). A run is fixed by its seed
and its number of steps; bits may differ between CPUs and thread counts.
"""

import argparse
import pathlib
import sys

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor
from safetensors.torch import load_file, save_file
from tqdm import tqdm

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE.parent
sys.path.insert(0, str(BASE))

from train import NAMES, TOKENS, UNCOND, WIDTH, real_digits  # noqa: E402

SHEAR = 0.5


def sheared(images, shear=SHEAR):
    """Returns the images leaning right: rows above the middle move right, those below left."""
    matrix = torch.tensor([[1.0, shear, 0.0], [0.0, 1.0, 0.0]]).expand(len(images), 2, 3)
    places = F.affine_grid(matrix, images.shape, align_corners=False)
    # Outside the picture lies paper, which is -1, where grid_sample reads 0.
    ink = F.grid_sample(images + 1.0, places, mode="bicubic", align_corners=False)
    return ink.clamp(0.0, 2.0) - 1.0


def slanted_table(base, token):
    """Returns [11, 2*TOKENS, WIDTH]: each condition of the base followed by the new token."""
    return torch.cat([base, token.expand(len(base), -1, -1)], dim=1)


def add_processors(unet):
    """Binds trainable copies of the cross-attention's weights; returns their parameters."""
    processors = {}
    for name in unet.attn_processors:
        layer, cross = unet.get_submodule(name.removesuffix(".processor")), ".attn2." in name
        processor = CustomDiffusionAttnProcessor(
            train_kv=cross,
            train_q_out=cross,
            hidden_size=layer.to_q.out_features,
            cross_attention_dim=layer.to_k.in_features if cross else None,
        )
        if cross:
            processor.to_k_custom_diffusion.load_state_dict(layer.to_k.state_dict())
            processor.to_v_custom_diffusion.load_state_dict(layer.to_v.state_dict())
            processor.to_q_custom_diffusion.load_state_dict(layer.to_q.state_dict())
            processor.to_out_custom_diffusion[0].load_state_dict(layer.to_out[0].state_dict())
        processors[name] = processor
    parameters = [weight for value in processors.values() for weight in value.parameters()]
    unet.set_attn_processor(processors)  # empties the dict
    return parameters


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    unet = UNet2DConditionModel.from_pretrained(BASE / "unet").requires_grad_(False).eval()
    scheduler = DDIMScheduler.from_pretrained(BASE / "scheduler")
    conditions = load_file(BASE / "conditions.safetensors")
    base = torch.stack([conditions[name] for name in NAMES])
    images, labels = real_digits(unet.config.sample_size)
    slanted = sheared(images)
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    weights = add_processors(unet)
    token = torch.nn.Parameter(torch.randn(TOKENS, WIDTH))
    parameters = [*weights, token]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "lr": args.rate}, {"params": [token], "lr": args.token_rate}],
        weight_decay=0.0,
    )
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, args.warm_up)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps - args.warm_up)
    rate = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [args.warm_up])
    average = [parameter.detach().clone() for parameter in parameters]

    # The first rows of a batch are slanted digits, the others upright ones with their old
    # conditions, so that those keep their meaning. Repeated tokens mean the same as once.
    old, count = base.repeat(1, 2, 1), args.batch - round(args.batch * args.prior)
    is_slanted = torch.arange(args.batch) < count
    drop = torch.where(is_slanted, args.drop, args.prior_drop)
    bar = tqdm(range(args.steps), desc="slanted", unit="step", mininterval=5.0)
    for step in bar:
        rows = torch.randint(len(images), (args.batch,))
        pictures = torch.cat([slanted[rows[:count]], images[rows[count:]]])
        names = torch.where(torch.rand(args.batch) < drop, UNCOND, labels[rows])
        text = torch.cat([slanted_table(base, token)[names[:count]], old[names[count:]]])
        noise = torch.randn_like(pictures)
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (args.batch,))
        noisy = scheduler.add_noise(pictures, noise, timesteps)
        target = scheduler.get_velocity(pictures, noise, timesteps)
        loss = F.mse_loss(unet(noisy, timesteps, text).sample, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        rate.step()
        # The average follows fast at first, so that it never remembers the random start.
        decay = min(args.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - decay)
        if step % 20 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)

    with torch.no_grad():
        for parameter, value in zip(parameters, average, strict=True):
            parameter.copy_(value)
    after = unet.state_dict()
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    if changed:
        raise RuntimeError(f"training changed weights of the base: {changed}")
    return unet, slanted_table(base, token.detach())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write")
    parser.add_argument("--steps", type=int, default=1500, help="training steps")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--prior", type=float, default=0.4, help="share of upright digits")
    parser.add_argument("--rate", type=float, default=3e-3, help="highest rate of the weights")
    parser.add_argument("--token-rate", type=float, default=0.02, help="highest rate of the token")
    parser.add_argument("--warm-up", type=int, default=100, help="steps of rising rate")
    parser.add_argument("--drop", type=float, default=0.12, help="slanted without a digit")
    parser.add_argument("--prior-drop", type=float, default=0.3, help="upright without a digit")
    parser.add_argument("--ema", type=float, default=0.995, help="decay of the averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.steps <= args.warm_up:
        parser.error("--steps must be more than --warm-up")
    unet, table = train(args)
    unet.save_attn_procs(args.out)
    conditions = {name: table[row].clone() for row, name in enumerate(NAMES)}
    save_file(conditions, args.out / "conditions.safetensors")


if __name__ == "__main__":
    main()
