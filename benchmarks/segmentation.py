"""Does pretraining help to segment with few masks? Label curves of both arms on nuclei and on aerial pictures.

    python benchmarks/segmentation.py --data-root ../shared/data [--sets nuclei aerial] [--seeds 5] [--views from-above]

The training pictures alone are learnt from, without masks: the test pictures are in no step of any arm. Then the same
network is fine-tuned from that run and from scratch, on 5, 10, 20 and all masks, with the same images, windows, steps
and schedule; the contrast of every picture is stretched in both. Seeds are finished one after the other, each with its
table, and every fine-tuning is a file in benchmarks/runs/segmentation: the same command goes on where it was stopped.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from barlow import Machine, SegmentSettings, load_source, pretrain, segment
from barlow.applications.segmentation.cells import split_images
from barlow.applications.segmentation.pictures import open_pairs
from barlow.applications.segmentation.summary import in_words

LABELS = ("5", "10", "20", "all")


@dataclass(frozen=True)
class DataSet:
    """What differs between the two: how large pictures are seen, what has no label, and what is learnt from.

    Attributes:
        short_side: of the pictures as they are segmented.
        patch: side of the patches that the pictures are cut into for pretraining; 0: whole pictures.
        epochs: of pretraining.
    """

    short_side: int
    patch: int
    epochs: int
    unlabelled: tuple[str, ...] = ()


SETS = {
    "nuclei": DataSet(short_side=128, patch=0, epochs=100),
    "aerial": DataSet(short_side=256, patch=128, epochs=25, unlabelled=("0",)),
}


def settings_of(data: DataSet, seeds: int, flags: argparse.Namespace) -> SegmentSettings:
    """Return the numbers of the fine-tuning."""
    return SegmentSettings(
        labels=LABELS, seeds=seeds, arms=tuple(flags.arms), steps=flags.steps, batch_size=8, window=64,
        learning_rate=flags.learning_rate, short_side=data.short_side, unlabelled=data.unlabelled,
    )  # fmt: skip


def unlabelled(place: Path, data: DataSet, settings: SegmentSettings) -> list[Path] | Tensor:
    """Return the training pictures: their paths, or patches of them."""
    pairs = open_pairs(place, settings)
    train, _ = split_images(pairs, settings.test_share)
    paths = [pairs.root / pairs.images[position] for position in train]
    if not data.patch:
        return paths
    side, source = data.patch, load_source(list(paths), decode_size=0, channels=3)
    patches = [
        picture[:, top : top + side, left : left + side]
        for batch in source.batches(range(len(source)), 1)
        for picture in batch.samples
        for top in range(0, picture.shape[1] - side + 1, side)
        for left in range(0, picture.shape[2] - side + 1, side)
    ]
    return torch.stack(patches)


def pretrained(pictures: list[Path] | Tensor, epochs: int, flags: argparse.Namespace, out: Path) -> None:
    """Pretrain on pictures without masks, or go on with that; ends the script where a signal stopped it."""
    numbers: dict[str, Any] = {"learning_rate": 2e-3, "batch_size": 64, "image_size": 64, "epochs": epochs}
    run = pretrain(
        pictures, recipe="pictures", backbone=flags.backbone, views=flags.views, out=out,
        machine=Machine(devices="1", quiet=True), **numbers,
    )  # fmt: skip
    if not run.finished:
        raise SystemExit("stopped after a checkpoint; the same command goes on")


def main() -> None:
    """Pretrain, fine-tune what is missing, and print the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=SegmentSettings.learning_rate)
    parser.add_argument("--arms", nargs="+", default=["pretrained", "scratch"])
    parser.add_argument("--backbone", default="unet-plain:8")
    parser.add_argument("--views", default="from-above")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs" / "segmentation")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    for seeds in range(1, flags.seeds + 1):
        for name in flags.sets:
            place, data = flags.data_root / name, SETS[name]
            settings = settings_of(data, seeds, flags)
            run = flags.out / f"{name}-run"
            if not (run / "summary.json").exists():
                pretrained(unlabelled(place, data, settings), data.epochs, flags, run)
            found = segment(run, place, out=flags.out / name, settings=settings)
            print(f"\n{name}, {seeds} seeds\n{table(found.summary)}", flush=True)


def table(summary: dict[str, Any]) -> str:
    """Return the figures as they stand in docs/segmentation.md."""
    lines = ["| arm | labels | Dice per image | least | IoU of the set | Hausdorff, px |", "|---|--:|--:|--:|--:|--:|"]
    for row in summary["rows"]:
        dice, iou, distance = row["dice"], row["set_iou"]["mean"], row["hausdorff"]["mean"]
        spread = "" if dice["std"] is None else f" ± {dice['std']:.3f}"
        lines.append(
            f"| {row['arm']} | {row['labels']} | {dice['mean']:.3f}{spread} | {dice['least']:.3f} | {iou:.3f} "
            f"| {distance:.1f} |"
        )
    for name, bar in summary["bars"].items():
        distance = "" if bar["hausdorff"] is None else f"{bar['hausdorff']:.1f}"
        lines.append(f"| {name} | 0 | {bar['dice']:.3f} | | {bar['set_iou']:.3f} | {distance} |")
    return "\n".join([*lines, *map(in_words, summary["differences"])])


if __name__ == "__main__":
    main()
