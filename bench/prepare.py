#!/usr/bin/env python3
"""Makes what the measured processes read, so that none of them pays for it: random weights, the answer of diffusers
in eager mode, the work of a forward, and the model as OpenVINO and ONNX Runtime take it.

    python bench/prepare.py FILE... [--shape sd15] [--batch 1] [--latent 64]

FILE: checkpoint, answer, work, onnx, openvino. Everything is kept in ~/.cache/unetd/bench and made once. Sizes are
static in the exported models: their runtimes are fastest so.
"""

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # this folder's modules are bench.NAME
from bench import workload

ONNX_OPSET = 17  # the first with LayerNormalization


def load_unet(case):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(workload.checkpoint(case.shape)).eval()


def torch_inputs(case):
    import torch

    return tuple(torch.from_numpy(value) for value in workload.inputs(case).values())


def traceable(case):
    """The UNet as a module from tensors to a tensor."""
    import torch

    class Forward(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = load_unet(case)

        def forward(self, sample, timestep, encoder_hidden_states):
            return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]

    return Forward().eval()


def make_checkpoint(case, folder):
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    UNet2DConditionModel(**workload.SHAPES[case.shape]).save_pretrained(folder, max_shard_size="100GB")


def count_work(case):
    """Multiply-adds of a forward, times two, as direct algorithms do them."""
    import torch
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad():
        unet = UNet2DConditionModel(**workload.SHAPES[case.shape]).eval()
        unet.set_attn_processor(AttnProcessor())  # plain matrix products, which the counter knows
        feed = [tensor.to("meta") for tensor in torch_inputs(case)]
        with FlopCounterMode(display=False) as counter:
            unet(*feed)
    return counter.get_total_flops()


def make_answer(case, folder):
    import numpy as np
    import torch

    with torch.inference_mode():
        np.save(folder / "answer.npy", traceable(case)(*torch_inputs(case)).numpy())


def make_work(case, folder):
    (folder / "work.json").write_text(json.dumps({"flops": count_work(case)}) + "\n")


def make_openvino(case, folder):
    import openvino

    feed = torch_inputs(case)
    model = openvino.convert_model(
        traceable(case), example_input=feed, input=[tuple(tensor.shape) for tensor in feed]
    )
    openvino.save_model(model, folder / "unet.xml", compress_to_fp16=False)


def make_onnx(case, folder):
    import onnx
    import torch

    with tempfile.TemporaryDirectory(dir=folder.parent) as scattered:  # a file a weight beyond 2 GB
        path = Path(scattered) / "unet.onnx"
        torch.onnx.export(
            traceable(case), torch_inputs(case), str(path), dynamo=False, opset_version=ONNX_OPSET,
            input_names=list(workload.inputs(case)), output_names=["out_sample"],
        )
        onnx.save_model(
            onnx.load(path), folder / "unet.onnx", save_as_external_data=True, location="unet.bin"
        )


MAKERS = {
    "checkpoint": make_checkpoint,
    "answer": make_answer,
    "work": make_work,
    "onnx": make_onnx,
    "openvino": make_openvino,
}


def folder_of(what, case):
    return workload.checkpoint(case.shape) if what == "checkpoint" else case.folder / what


def answer(case):
    import numpy as np

    return np.load(folder_of("answer", case) / "answer.npy")


def flops(case):
    return json.loads((folder_of("work", case) / "work.json").read_text())["flops"]


def warm(what, case):
    """Brings the files into the page cache, so that nobody's start pays for the disk."""
    for path in sorted(folder_of(what, case).iterdir()):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def share_weights(folder):
    """Other sizes of the same model often have the very same weights: one file on the disk and in the page cache."""
    ours = folder / "unet.bin"
    shape = folder.parent.name.split("-")[0]
    for other in sorted(workload.CACHE.glob(f"{shape}-*/{folder.name}/unet.bin")):
        if other != ours and other.stat().st_size == ours.stat().st_size and filecmp.cmp(other, ours, shallow=False):
            ours.unlink()
            os.link(other, ours)
            return


def make(what, case):
    folder = folder_of(what, case)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        MAKERS[what](case, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if (folder / "unet.bin").exists():
        share_weights(folder)


def ensure(case, names):
    """Makes what is missing, each in a process of its own: it takes several times the weights' memory."""
    for what in dict.fromkeys(["checkpoint", "work", *names]):
        if not folder_of(what, case).exists():
            print(f"preparing {what} in {folder_of(what, case)} ...", file=sys.stderr, flush=True)
            done = subprocess.run([sys.executable, __file__, what, *case.as_arguments()], stdout=sys.stderr)
            if done.returncode != 0:
                raise SystemExit(f"could not prepare {what} of {case.label}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=MAKERS, metavar="FILE")
    workload.add_case_options(parser)
    args = parser.parse_args()
    case = workload.case_of(args)
    for what in args.what:
        if not folder_of(what, case).exists():
            make(what, case)


if __name__ == "__main__":
    main()
