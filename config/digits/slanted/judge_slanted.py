"""Draws slanted digits with the trained processors; measures whether they read, and how they lean.

The reader of slanted digits is trained on real ones, sheared. The lean of a picture is mu11 / mu02
of its ink, positive to the right: shearing adds the shear to it.
"""

import argparse
import pathlib
import sys

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from tqdm import tqdm

from train_slanted import BASE, HERE, sheared  # isort: skip (makes the base's modules known)
from judge import grid
from train import real_digits

DIGITS = [str(digit) for digit in range(10)]


def bind(unet, path):
    """Binds the processors of a save_attn_procs file. It leaves out layers that train nothing."""
    state = {name: {} for name in unet.attn_processors if ".attn1." in name}
    state.update(load_file(path))
    unet.set_attn_processor(unet._process_custom_diffusion(state))
    return unet


def draw(unet, table, args):
    """Returns images [10*per_digit,1,16,16] in [-1,1], digit after digit."""
    scheduler = DDIMScheduler.from_pretrained(BASE / "scheduler")
    wanted = torch.stack([table[digit] for digit in DIGITS for _ in range(args.per_digit)])
    text = torch.cat([table["uncond"].expand_as(wanted), wanted])
    size = unet.config.sample_size
    generator = torch.Generator().manual_seed(args.seed)
    sample = torch.randn(len(wanted), 1, size, size, generator=generator)
    scheduler.set_timesteps(args.steps)
    for timestep in tqdm(scheduler.timesteps, desc="draw", unit="step"):
        with torch.no_grad():
            uncond, cond = unet(torch.cat([sample, sample]), timestep, text).sample.chunk(2)
        output = uncond + args.guidance * (cond - uncond)
        sample = scheduler.step(output, timestep, sample, use_clipped_model_output=True).prev_sample
    return sample


def reader(images, labels):
    """Returns a reader trained on three quarters of the images, and its score on the others."""
    parts = train_test_split(
        images.flatten(1).numpy(), labels, test_size=0.25, random_state=0, stratify=labels
    )
    svm = SVC(C=10.0, gamma="scale").fit(parts[0], parts[2])
    return svm, svm.score(parts[1], parts[3])


def lean(images):
    """Returns mu11 / mu02 of each image's ink; y points up."""
    ink = (images[:, 0].double().numpy() + 1.0) / 2.0
    size = ink.shape[-1]
    across, up = np.arange(size) - (size - 1) / 2, (size - 1) / 2 - np.arange(size)[:, None]
    total = ink.sum((1, 2))
    x = across - ((ink * across).sum((1, 2)) / total)[:, None, None]
    y = up - ((ink * up).sum((1, 2)) / total)[:, None, None]
    return (ink * x * y).sum((1, 2)) / (ink * y * y).sum((1, 2))


def print_reading(what, svm, images, wanted):
    read = svm.predict(images.flatten(1).numpy())
    print(f"{what}: {(read == wanted).sum()} of {len(wanted)} read as asked")
    for digit in range(10):
        right, count = (read[wanted == digit] == digit).sum(), (wanted == digit).sum()
        if right < count:
            print(f"  {digit}: {right} of {count}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=HERE)
    parser.add_argument("--per-digit", type=int, default=20, help="samples of each digit")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--grid", type=pathlib.Path, help="a PNG to write, one slanted digit a row")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    unet = UNet2DConditionModel.from_pretrained(BASE / "unet").eval()
    table = load_file(BASE / "conditions.safetensors")
    base = draw(unet, table, args)
    bind(unet, args.folder / "pytorch_custom_diffusion_weights.safetensors")
    old = draw(unet, table, args)
    new = draw(unet, load_file(args.folder / "conditions.safetensors"), args)

    images, labels = real_digits(unet.config.sample_size)
    labels, wanted = labels.numpy(), np.repeat(np.arange(10), args.per_digit)
    upright, upright_score = reader(images, labels)
    slanted, slanted_score = reader(sheared(images), labels)
    # The same picture, upright or sheared: which does a sample look like?
    both = torch.cat([images, sheared(images)])
    style, style_score = reader(both, np.repeat([0, 1], len(images)))
    scores = [f"{100 * score:.1f} %" for score in (upright_score, slanted_score, style_score)]
    print("held-out real digits: upright {} read, sheared {} read, told apart {}".format(*scores))
    print_reading("base, old prompts", upright, base, wanted)
    print_reading("slanted processors, old prompts", upright, old, wanted)
    print_reading("slanted processors, slanted prompts", slanted, new, wanted)
    looks = [int(style.predict(value.flatten(1).numpy()).sum()) for value in (base, old, new)]
    print("taken for slanted: base {}, old prompts {}, slanted prompts {}".format(*looks))
    for name, value in (("real upright", images), ("real sheared", sheared(images))):
        print(f"lean, {name}: {lean(value).mean():+.3f}")
    for name, value in (("base", base), ("old prompts", old), ("slanted prompts", new)):
        leans = lean(value)
        each = " ".join(f"{leans[wanted == digit].mean():+.2f}" for digit in range(10))
        print(f"lean, {name}: {leans.mean():+.3f}; 0 to 9: {each}")
    gained = lean(new) - lean(base)
    least, most = gained.min(), gained.max()
    print(f"lean gained from the same noise: {gained.mean():+.3f} ({least:+.2f} to {most:+.2f})")
    print(f"old prompts moved a pixel by {(old - base).abs().mean():.4f} on average")
    if args.grid:
        grid(new, args.per_digit, args.grid)


if __name__ == "__main__":
    main()
