"""What is forgotten of data sets learned one after another, and what keeps it: aerial -> nuclei, and tiles in threes.

    python benchmarks/sequence.py --data-root ../shared/data [--streams aerial-nuclei] [--ways ewc distill] [--seeds 3]

Pictures are cut into patches of 64 pixels, whole pictures are held out. Every cell is a folder of `barlow sequence` in
benchmarks/runs/sequence, so the same command goes on where it was stopped. Losses on earlier data sets are with their
own BatchNorm statistics, those of replay with the last ones, which are of its old samples too. The targets of EWC: the
held-out loss on the first data set at most 1.08 times what it was after its stage, where the bare
sequence is at 1.2 times or more; at no more than 1.10 times the loss of the bare sequence on the last data set.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from barlow import EWC, ArraySource, Distill, Replay, pretrain_sequence
from barlow.files import read_json
from barlow.training.machine import Machine

PATCH = 64
NUMBERS: dict[str, Any] = {
    "backbone": "resnet10", "width": 8, "image_size": 32, "projector": "128-128", "batch_size": 64, "epochs": 3,
    "precision": "32-true",
}  # fmt: skip
WAYS: dict[str, EWC | Distill | Replay] = {
    "ewc": EWC(),
    "ewc-online": EWC(mode="online"),
    "ewc-separate": EWC(mode="separate"),
    "distill": Distill(),
    "replay": Replay(),
}
TILES = {"tiles 1-3": (1, 2, 3), "tiles 4-6": (4, 5, 6), "tiles 7-8": (7, 8)}
MOST_KEPT, LEAST_LOST, MOST_PAID = 1.08, 1.2, 1.10
AERIAL = ("unlabeled", "land", "water", "building", "vegetation", "road")
FOREGROUND = (0.02, 0.08, 0.16)
"""Share of a patch of nuclei that is nucleus: the bounds of four classes."""

Pair = tuple[ArraySource, ArraySource]


def patches(path: Path, mask: Path, number: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Cut a picture into number x number squares of its short side, reduced to 64 pixels, and its mask alike."""
    picture, classes = Image.open(path).convert("RGB"), Image.open(mask)
    side = min(picture.size) // number
    left, top = ((length - number * side) // 2 for length in picture.size)
    found, truth = [], []
    for row in range(number):
        for column in range(number):
            box = (left + column * side, top + row * side, left + (column + 1) * side, top + (row + 1) * side)
            small = picture.crop(box).resize((PATCH, PATCH), Image.Resampling.BOX)
            found.append(torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).contiguous())
            truth.append(torch.from_numpy(np.asarray(classes.crop(box)).copy()))
    return found, truth


def aerial(root: Path, tiles: Sequence[int], name: str) -> Pair:
    """Sixteen patches of every picture, by the class of most of it; two pictures of each tile are held out."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for tile in tiles:
        for number, path in enumerate(sorted((root / "aerial" / f"tile{tile}" / "images").iterdir())):
            found, masks = patches(path, path.parents[1] / "masks" / f"{path.stem}.png", 4)
            labels = [int(mask.flatten().long().bincount(minlength=6).argmax()) for mask in masks]
            parts[number in (3, 7)].extend(zip(found, labels, strict=True))
    return _sources(parts, name)


def nuclei(root: Path) -> Pair:
    """Four patches of every picture, by how much of a patch is nucleus; every sixth picture is held out."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for number, path in enumerate(sorted((root / "nuclei" / "images").iterdir())):
        found, masks = patches(path, path.parents[1] / "masks" / path.name, 2)
        labels = [int(np.searchsorted(FOREGROUND, float((mask > 0).float().mean()))) for mask in masks]
        parts[number % 6 == 5].extend(zip(found, labels, strict=True))
    return _sources(parts, "nuclei")


def _sources(parts: tuple[list[Any], list[Any]], name: str) -> Pair:
    train, held = (
        ArraySource(torch.stack([x for x, _ in part]), labels=[y for _, y in part], name=name) for part in parts
    )
    return train, held


def streams(root: Path) -> dict[str, list[Pair]]:
    """Return the sequences of data sets by name."""
    return {
        "aerial-nuclei": [aerial(root, range(1, 9), "aerial"), nuclei(root)],
        "tiles": [aerial(root, tiles, name) for name, tiles in TILES.items()],
    }


def rows_of(found: dict[str, Any], way: str) -> dict[str, list[float]]:
    """Return what a cell says of one way: what was kept of each data set but the last, and the loss on the last."""
    arm = found["arms"][way]
    probe = arm["matrices"]["probe"]
    changed = [probe[-1][i] - probe[i][i] for i in range(len(probe) - 1)]
    kept = arm["kept_as_it_is" if way == "replay" else "kept"][:-1]  # replay's BatchNorm goes on seeing old samples
    return {"kept": kept, "last": [arm["matrices"]["loss"][-1][-1]], "probe": changed}


def main() -> None:
    """Train what is missing and print a row for each stream and way, and whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--streams", nargs="+", default=["aerial-nuclei", "tiles"])
    parser.add_argument("--ways", nargs="+", default=["ewc", "distill", "replay"], choices=list(WAYS))
    parser.add_argument("--weights", nargs="*", type=float, default=[], help="of EWC besides, relative")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=NUMBERS["epochs"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "sequence")
    flags = parser.parse_args()
    ways: dict[str, EWC | Distill | Replay] = {name: WAYS[name] for name in flags.ways}
    ways |= {f"ewc-{weight:g}": EWC(relative_weight=weight) for weight in flags.weights}
    known = streams(flags.data_root)
    print("| data | way | seed | kept of those before | loss on the last | of the bare one | few labels, change |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name in flags.streams:
        for seed in range(flags.seeds):
            _cells(flags, name, known[name], ways, seed)
    _verdicts(flags, ways)


def _cells(flags: Any, name: str, data: list[Pair], ways: dict[str, Any], seed: int) -> None:
    bare: dict[str, list[float]] = {}
    for way, keep in ways.items():
        baselines = () if bare else ("none",) if seed else ("none", "joint", "alone")
        found = pretrain_sequence(
            data, keep=keep, out=flags.out / name / f"{way}-{seed}", baselines=baselines, seed=seed,
            machine=Machine(accelerator="cpu", quiet=True), **{**NUMBERS, "epochs": flags.epochs},
        ).results  # fmt: skip
        if not bare:
            bare = rows_of(found, "none")
            _print(name, "nothing kept", seed, bare, bare)
        _print(name, way, seed, rows_of(found, next(iter(found["arms"]))), bare)


def _print(stream: str, way: str, seed: int, row: dict[str, list[float]], bare: dict[str, list[float]]) -> None:
    kept = " / ".join(f"{one:.3f}" for one in row["kept"])
    probe = " / ".join(f"{100 * one:+.1f}" for one in row["probe"])
    last = row["last"][0]
    print(f"| {stream} | {way} | {seed} | {kept} | {last:.1f} | {last / bare['last'][0]:.3f} | {probe} |", flush=True)


def _verdicts(flags: Any, ways: dict[str, Any]) -> None:
    """Print the means over the seeds, and whether each target is met in all of them."""
    for name in flags.streams:
        cells = {way: [_cell(flags.out, name, way, seed) for seed in range(flags.seeds)] for way in ways}
        bare = [rows_of(found, "none") for found in next(iter(cells.values()))]
        lost = [row["kept"][0] for row in bare]
        print(f"{name}: nothing kept: {_spread(lost)}; at least {LEAST_LOST} in every seed: {min(lost) >= LEAST_LOST}")
        for way, found in cells.items():
            rows = [rows_of(one, next(iter(one["arms"]))) for one in found]
            kept = [row["kept"][0] for row in rows]
            paid = [row["last"][0] / one["last"][0] for row, one in zip(rows, bare, strict=True)]
            met = max(kept) <= MOST_KEPT and max(paid) <= MOST_PAID
            print(f"{name}: {way}: kept {_spread(kept)}, paid {_spread(paid)}; as aimed at in every seed: {met}")


def _cell(out: Path, stream: str, way: str, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = read_json(out / stream / f"{way}-{seed}" / "results.json")
    return found


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
