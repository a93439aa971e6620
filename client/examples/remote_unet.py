"""A Stable Diffusion pipeline of diffusers whose UNet runs on a unetd server.

    pip install './client/python[diffusers]' transformers
    python client/examples/remote_unet.py models/sd15 "a photograph of an astronaut riding a horse"

The folder is the pipeline's as diffusers saves it; of its UNet nothing is read here.
"""

import argparse

import diffusers
from unetd import RemoteUNet

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("prompt")
parser.add_argument("--address", default="127.0.0.1:8001")
parser.add_argument("--model", default="sd15", help="its name in the server's config")
parser.add_argument("--variant", help="unsaid: drawn by the server")
parser.add_argument("--png", default="out.png")
arguments = parser.parse_args()

unet = RemoteUNet(arguments.address, arguments.model, arguments.variant)
pipe = diffusers.StableDiffusionPipeline.from_pretrained(arguments.folder, unet=unet)
pipe(arguments.prompt).images[0].save(arguments.png)
print(f"{arguments.png}: drawn by variant {unet.variant_that_ran}")
