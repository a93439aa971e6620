"""Trains the shipped digits model: a small text-free UNet that draws the handwritten digits 0..9.

Writes a plain diffusers folder: unet/, scheduler/ and conditions.safetensors (see README.md).
A run is fixed by its seed and its number of steps; bits may differ between CPUs and thread counts.
"""

import argparse
import copy
import pathlib

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from tqdm import tqdm

HERE = pathlib.Path(__file__).resolve().parent
NAMES = [str(digit) for digit in range(10)] + ["uncond"]
UNCOND = len(NAMES) - 1
TOKENS, WIDTH = 4, 64

UNET = dict(
    sample_size=16,
    in_channels=1,
    out_channels=1,
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    mid_block_type="UNetMidBlock2DCrossAttn",
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    block_out_channels=[32, 64, 64],
    layers_per_block=1,
    cross_attention_dim=WIDTH,
    attention_head_dim=4,
    norm_num_groups=16,
)
SCHEDULER = dict(
    num_train_timesteps=1000,
    beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction",
    timestep_spacing="trailing",
    clip_sample=True,
)


def real_digits(size):
    """Returns images [1797,1,size,size] in [-1,1] and labels [1797]."""
    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32)[:, None] / 8.0 - 1.0
    images = F.interpolate(images, size=(size, size), mode="bicubic", align_corners=False)
    return images.clamp(-1.0, 1.0), torch.tensor(data.target, dtype=torch.int64)


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    images, labels = real_digits(UNET["sample_size"])
    unet = UNet2DConditionModel(**UNET)
    table = torch.nn.Parameter(torch.randn(len(NAMES), TOKENS, WIDTH))
    scheduler = DDIMScheduler(**SCHEDULER)
    parameters = [*unet.parameters(), table]
    optimizer = torch.optim.AdamW(
        [
            {"params": list(unet.parameters()), "weight_decay": 1e-2},
            {"params": [table], "weight_decay": 0.0},
        ],
        lr=args.rate,
    )
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, args.warm_up)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps - args.warm_up)
    rate = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [args.warm_up])
    average = [parameter.detach().clone() for parameter in parameters]

    unet.train()
    bar = tqdm(range(args.steps), desc="digits", unit="step", mininterval=5.0)
    for step in bar:
        rows = torch.randint(len(images), (args.batch,))
        dropped = torch.rand(args.batch) < args.drop
        condition = table[torch.where(dropped, UNCOND, labels[rows])]
        noise = torch.randn(args.batch, *images.shape[1:])
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (args.batch,))
        noisy = scheduler.add_noise(images[rows], noise, timesteps)
        target = scheduler.get_velocity(images[rows], noise, timesteps)
        loss = F.mse_loss(unet(noisy, timesteps, condition).sample, target)
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

    result = copy.deepcopy(unet).eval()
    with torch.no_grad():
        for parameter, value in zip(result.parameters(), average[:-1], strict=True):
            parameter.copy_(value)
    return result, average[-1], scheduler


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write")
    parser.add_argument("--steps", type=int, default=1600, help="training steps")
    parser.add_argument("--batch", type=int, default=64, help="images a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--warm-up", type=int, default=100, help="steps of rising rate")
    parser.add_argument("--drop", type=float, default=0.12, help="share trained without a digit")
    parser.add_argument("--ema", type=float, default=0.995, help="decay of the averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.steps <= args.warm_up:
        parser.error("--steps must be more than --warm-up")
    unet, table, scheduler = train(args)
    unet.save_pretrained(args.out / "unet")
    scheduler.save_pretrained(args.out / "scheduler")
    conditions = {name: table[row].clone() for row, name in enumerate(NAMES)}
    save_file(conditions, args.out / "conditions.safetensors")


if __name__ == "__main__":
    main()
