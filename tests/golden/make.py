"""Makes the goldens of this folder with diffusers' own code, or compares them with new ones."""

import argparse
import os
import pathlib
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
from tqdm import tqdm

import blocks
import calls
import compare
import digits
import families
import harness
import keys
import pixels
import processors
import refused
import schedulers

HERE = pathlib.Path(__file__).resolve().parent


def parts():
    """Returns name -> function(folder) of everything that can be made, in order."""

    def unet(case):
        return lambda out: harness.make_case(case, out / "unet" / case.name)

    cases = [*families.CASES, *pixels.CASES, *keys.CASES, *calls.CASES, *blocks.CASES, processors.MODEL]
    table = {f"unet/{case.name}": unet(case) for case in cases}
    table["refused"] = lambda out: refused.make(out)
    table.update({f"schedulers/{name}": part for name, part in schedulers.parts().items()})
    table.update({f"processors/{name}": part for name, part in processors.parts().items()})
    table["digits"] = lambda out: digits.make(out)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a part, or the start of several; repeatable",
    )
    parser.add_argument("--list", action="store_true", help="print the names of all parts and stop")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="make anew in a temporary folder and compare with --out; exit 1 if they differ",
    )
    parser.add_argument("--verbose", action="store_true", help="print each output's std and error")
    args = parser.parse_args()

    table = parts()
    if args.list:
        print("\n".join(table))
        return 0
    wanted = [name for name in table if not args.only or name.startswith(tuple(args.only))]
    if not wanted:
        parser.error("no part has such a name; see --list")

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of deprecated inputs and empty layers, which are meant here
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) if args.compare else args.out
        for name in tqdm(wanted, unit="part", mininterval=1.0):
            lines = table[name](out) or []
            if args.verbose:
                for call, std, error in lines:
                    tqdm.write(f"{name} {call or '-'}: std {std:.3g}, fp32 error {error:.2g} of it")
        if not args.compare:
            return 0
        return compare.report(args.out, out, whole=not args.only)


if __name__ == "__main__":
    sys.exit(main())
