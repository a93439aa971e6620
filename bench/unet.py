#!/usr/bin/env python3
"""One forward of a UNet of the SD 1.5 shape, fp32: unetd and its peers, interleaved in one run.

    python bench/unet.py --unetd build/bin/unetd [--latent 64] [--batch 1] [--threads 2] [--repeats 5]
                         [--peers eager] [--json FILE]

Weights are random: made once by diffusers, kept outside the tree. unetd is asked over gRPC, a peer runs in
a process of its own; they take turns, so that whatever else the machine does hits both. Printed: the CPU, the median and
the range of each, the ratio, the largest difference of the outputs, unetd's peak resident memory and the time from its
start to its first answer. Needs the packages of tests/peers/requirements.txt (scripts/test --peers installs them).
"""

import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "unetd" / "bench"
SHAPES = {
    "sd15": dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
    "tiny": dict(
        sample_size=16,
        cross_attention_dim=32,
        attention_head_dim=8,
        block_out_channels=(32, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ),
}
TEXT_TOKENS = 77


def checkpoint(shape: str) -> Path:
    """The folder of the random checkpoint, made if it is not there."""
    folder = CACHE / shape
    if not (folder / "config.json").exists():
        import torch
        from diffusers import UNet2DConditionModel

        print(f"making random weights in {folder} ...", flush=True)
        torch.manual_seed(0)
        UNet2DConditionModel(**SHAPES[shape]).save_pretrained(folder, max_shard_size="100GB")
    return folder


def inputs(shape: str, batch: int, latent: int):
    import numpy as np

    rng = np.random.default_rng(0)
    return {
        "sample": rng.standard_normal((batch, 4, latent, latent), dtype=np.float32),
        "timestep": np.array([500], dtype=np.int64),
        "encoder_hidden_states": rng.standard_normal(
            (batch, TEXT_TOKENS, SHAPES[shape]["cross_attention_dim"]), dtype=np.float32
        ),
    }


# ---- a peer, in a process of its own: reads a line, runs once, answers with seconds ----


def peer_eager(args):
    import numpy as np
    import torch
    from diffusers import UNet2DConditionModel

    torch.set_num_threads(args.threads)
    unet = UNet2DConditionModel.from_pretrained(checkpoint(args.shape)).eval()
    feed = {name: torch.from_numpy(value) for name, value in inputs(args.shape, args.batch, args.latent).items()}

    def forward():
        with torch.inference_mode():
            return unet(feed["sample"], feed["timestep"], feed["encoder_hidden_states"]).sample

    np.save(args.output, forward().numpy())
    return forward


PEERS = {"eager": peer_eager}


def serve_peer(args):
    forward = PEERS[args.as_peer](args)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        forward()
        print(f"{time.perf_counter() - start:.6f}", flush=True)


class Peer:
    def __init__(self, name, args, folder):
        self.name = f"diffusers {name}" if name == "eager" else name
        self.output = folder / f"{name}.npy"
        command = [sys.executable, __file__, "--as-peer", name, "--output", str(self.output)]
        for option in ("shape", "batch", "latent", "threads"):
            command += [f"--{option}", str(getattr(args, option))]
        env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        while (line := self.process.stdout.readline()).strip() != "ready":
            if not line:
                raise SystemExit(f"peer {name} ended before it was ready")

    def run(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- unetd ----


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Unetd:
    name = "unetd"

    def __init__(self, args, folder):
        import tritonclient.grpc as triton

        self.triton = triton
        port = free_port()
        model = {"name": "unet", "path": str(checkpoint(args.shape)), "shapes": [[args.latent, args.latent]]}
        config = {
            "server": {"address": f"127.0.0.1:{port}", "http_address": f"127.0.0.1:{free_port()}"},
            "backends": [{"name": "cpu", "options": {"threads": args.threads}}],
            "models": [dict(model, max_batch=args.batch)],
        }
        (folder / "unetd.json").write_text(json.dumps(config))
        self.feed = inputs(args.shape, args.batch, args.latent)
        started = time.perf_counter()
        self.process = subprocess.Popen([args.unetd, "--config", folder / "unetd.json"], stderr=subprocess.DEVNULL)
        self.client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        while True:
            try:
                if self.client.is_server_ready():
                    break
            except triton.InferenceServerException:
                pass
            if self.process.poll() is not None:
                raise SystemExit(f"unetd ended with {self.process.returncode}: run it by hand to see why")
            time.sleep(0.02)
        self.first = self.forward()
        self.ready_seconds = time.perf_counter() - started

    def forward(self):
        tensors = []
        for name, value in self.feed.items():
            dtype = "INT64" if value.dtype.kind == "i" else "FP32"
            tensors.append(self.triton.InferInput(name, list(value.shape), dtype))
            tensors[-1].set_data_from_numpy(value)
        return self.client.infer("unet", tensors).as_numpy("out_sample")

    def run(self):
        start = time.perf_counter()
        self.forward()
        return time.perf_counter() - start

    def peak_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024

    def close(self):
        self.process.terminate()
        self.process.wait()


def cpu_model():
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    features = [f for f in ("avx2", "avx512f", "avx512_bf16") if re.search(rf"\b{f}\b", flags)]
    return f"{found.group(1) if found else 'unknown'} ({' '.join(features)})"


def measure(args, folder):
    import numpy as np

    ours = Unetd(args, folder)
    runners = [ours] + [Peer(name, args, folder) for name in args.peers]
    try:
        for runner in runners:
            runner.run()  # warm
        times = {runner.name: [] for runner in runners}
        for repeat in range(args.repeats):
            for runner in runners:
                times[runner.name].append(runner.run())
            print(f"\rround {repeat + 1}/{args.repeats}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        weights = sum(f.stat().st_size for f in checkpoint(args.shape).glob("*.safetensors")) / 2**20
        result = {
            "cpu": cpu_model(),
            "threads": args.threads,
            "shape": args.shape,
            "batch": args.batch,
            "latent": args.latent,
            "weights_mib": weights,
            "unetd_peak_mib": ours.peak_mib(),
            "unetd_first_answer_s": ours.ready_seconds,
            "seconds": times,
        }
        for peer in runners[1:]:
            expected = np.load(peer.output)
            result[f"max_difference_in_std_{peer.name}"] = float(
                np.abs(ours.first - expected).max() / expected.std()
            )
    finally:
        for runner in runners:
            runner.close()
    return result


def report(result):
    print(f"CPU: {result['cpu']}, {result['threads']} threads")
    print(f"{result['shape']} UNet, fp32, batch {result['batch']}, {result['latent']}x{result['latent']} latents")
    ours = statistics.median(result["seconds"]["unetd"])
    for name, seconds in result["seconds"].items():
        median = statistics.median(seconds)
        note = "" if name == "unetd" else f"  unetd is {median / ours:.2f}x as fast"
        print(f"  {name:20} {median:8.4f} s  ({min(seconds):.4f} to {max(seconds):.4f}){note}")
    for name, value in result.items():
        if name.startswith("max_difference"):
            print(f"  largest difference from {name.rsplit('_', 1)[1]}: {value:.2e} of the output's std")
    over = result["unetd_peak_mib"] - result["weights_mib"]
    print(f"  unetd peak resident: {result['unetd_peak_mib']:.0f} MiB (weights {result['weights_mib']:.0f} + {over:.0f})")
    print(f"  unetd start to first answer: {result['unetd_first_answer_s']:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unetd", default=str(Path(__file__).parents[1] / "build" / "bin" / "unetd"))
    parser.add_argument("--shape", choices=SHAPES, default="sd15")
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["eager"])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--as-peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_peer:
        return serve_peer(args)
    checkpoint(args.shape)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    report(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
