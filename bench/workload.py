"""What is measured: a UNet's shape, its random checkpoint, the inputs, and where prepared files are kept."""

import argparse
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "unetd" / "bench"  # outside the tree
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
DTYPES = ("float32", "bfloat16")
CONVOLUTIONS = ("auto", "direct", "winograd")
ISAS = ("avx2",)


@dataclass(frozen=True)
class Case:
    """One forward: the model's shape, the batch, the latent's side, the threads, unetd's dtype and `conv`, and the
    instructions that everyone is capped to."""

    shape: str = "sd15"
    batch: int = 1
    latent: int = 64
    threads: int = 2
    dtype: str = "float32"
    conv: str | None = None  # None: the model's default
    isa: str | None = None  # None: all that the CPU has

    @property
    def label(self):
        """As people read it."""
        conv = f", conv: {self.conv}" if self.conv else ""
        isa = f", capped to {self.isa}" if self.isa else ""
        return (
            f"{self.shape}, batch {self.batch}, {self.latent}x{self.latent} latents, {self.dtype}{conv}, "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}{isa}"
        )

    @property
    def folder(self):
        """Prepared files that depend on the sizes of the inputs."""
        return CACHE / f"{self.shape}-b{self.batch}-{self.latent}"

    def as_arguments(self):
        """For a process of its own, which reads them with `add_case_options`."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def add_case_options(parser, shape="sd15"):
    parser.add_argument("--shape", choices=SHAPES, default=shape)
    parser.add_argument("--batch", type=_count, default=1)
    parser.add_argument("--latent", type=_count, default=64, help="side of the latent image (64)")
    parser.add_argument("--threads", type=_count, default=2, help="of unetd and of each peer (2)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="unetd's dtype of the model")
    parser.add_argument("--conv", choices=CONVOLUTIONS, help="unetd's convolution; unsaid: its default")
    parser.add_argument("--isa", choices=ISAS, help="cap unetd and the peers to these instructions")


def case_of(args):
    return Case(**{field.name: getattr(args, field.name) for field in fields(Case)})


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def checkpoint(shape):
    return CACHE / shape


def weights_mib(shape):
    return sum(file.stat().st_size for file in checkpoint(shape).glob("*.safetensors")) / 2**20


def inputs(case):
    """The same random arrays for everyone."""
    import numpy as np

    rng = np.random.default_rng(0)
    width = SHAPES[case.shape]["cross_attention_dim"]
    return {
        "sample": rng.standard_normal((case.batch, 4, case.latent, case.latent), dtype=np.float32),
        "timestep": np.array([500], dtype=np.int64),
        "encoder_hidden_states": rng.standard_normal((case.batch, TEXT_TOKENS, width), dtype=np.float32),
    }
