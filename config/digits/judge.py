"""Draws digits with the shipped model; a classifier trained on the real ones reads them."""

import argparse
import pathlib

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from tqdm import tqdm

from train import real_digits

HERE = pathlib.Path(__file__).resolve().parent


def draw(folder, per_digit, steps, guidance, seed):
    """Returns images [10*per_digit,1,16,16] in [-1,1], digit after digit."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    table = load_file(folder / "conditions.safetensors")
    wanted = torch.stack([table[str(digit)] for digit in range(10) for _ in range(per_digit)])
    text = torch.cat([table["uncond"].expand_as(wanted), wanted])
    size = unet.config.sample_size
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(len(wanted), 1, size, size, generator=generator)
    scheduler.set_timesteps(steps)
    for timestep in tqdm(scheduler.timesteps, desc="draw", unit="step"):
        with torch.no_grad():
            uncond, cond = unet(torch.cat([sample, sample]), timestep, text).sample.chunk(2)
        output = uncond + guidance * (cond - uncond)
        sample = scheduler.step(output, timestep, sample, use_clipped_model_output=True).prev_sample
    return sample


def classifier(size):
    """Returns a reader trained on the real digits, and how many held-out real ones it reads."""
    images, labels = real_digits(size)
    images, labels = images.flatten(1).numpy(), labels.numpy()
    parts = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    reader = SVC(C=10.0, gamma="scale").fit(parts[0], parts[2])
    return reader, reader.score(parts[1], parts[3])


def grid(images, columns, path):
    """Writes the images in rows of `columns`, four screen pixels to one of theirs."""
    framed = torch.nn.functional.pad(images.clamp(-1, 1), (1, 1, 1, 1), value=-0.6)
    rows = framed.squeeze(1).reshape(-1, columns, *framed.shape[2:]).numpy()
    pixels = rows.transpose(0, 2, 1, 3).reshape(rows.shape[0] * rows.shape[2], -1)
    picture = Image.fromarray(np.uint8((pixels + 1.0) * 127.5))
    picture.resize((picture.width * 4, picture.height * 4), Image.NEAREST).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=HERE)
    parser.add_argument("--per-digit", type=int, default=10, help="samples of each digit")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=2.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grid", type=pathlib.Path, help="a PNG to write, one digit a row")
    args = parser.parse_args()
    torch.set_num_threads(2)
    images = draw(args.folder, args.per_digit, args.steps, args.guidance, args.seed)
    reader, held_out = classifier(images.shape[-1])
    wanted = np.repeat(np.arange(10), args.per_digit)
    read = reader.predict(images.flatten(1).numpy())
    print(f"held-out real digits read: {100 * held_out:.1f} %")
    print(f"samples read as asked: {(read == wanted).sum()} of {len(wanted)}")
    for digit in range(10):
        right = (read[wanted == digit] == digit).sum()
        if right < args.per_digit:
            print(f"  {digit}: {right} of {args.per_digit}")
    if args.grid:
        grid(images, args.per_digit, args.grid)


if __name__ == "__main__":
    main()
