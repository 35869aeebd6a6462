"""What pretraining costs: images per second and memory of whole steps, by network and size of the pictures.

    python benchmarks/cost.py

Steps of the loop as `barlow compare` measures them (data, views, network, loss, optimizer), each in a process of its
own, on pictures of noise in memory: what they show costs nothing, and files have to be decoded on top of it. Batches
of 32, so that it ends: small networks do up to twice as many images per second in batches of 128 (docs/choosing.md),
and memory grows with the batch.

The last column is the share of the machine's peak that a step uses: the operations of the network, the loss and their
gradients, as torch counts them (two for a multiplication with an addition), over what a product of two matrices reaches
in the same time, in the precision of the steps: bf16 where the machine has it. That product is measured before and
after each case, and the faster one counts. Views and the optimizer take time, and none of the counted operations.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from barlow.modalities import load_samples, modality_for
from barlow.recipes import Recipe, recipe_for
from barlow.runs.build import build_backbone, build_method, build_views, fitted
from barlow.runs.timing import calibrate_apart
from barlow.seams import check_backbone
from barlow.training.engine import resolve_precision
from barlow.training.machine import Machine

PICTURES, BATCH = 256, 32
HOUR = 3600
SIDE, PRODUCTS = 2048, 5
"""Side of the matrices whose product shows the peak, and how often it is taken."""


def cases() -> dict[str, tuple[Recipe, int]]:
    """Return (recipe, side of the pictures) by what they are: our defaults, then larger networks and pictures."""
    pictures, grey = recipe_for(None, "photos/"), recipe_for(None, "fashion-mnist")
    resnet18, resnet50 = (
        replace(pictures, backbone=name, width=64, zero_init=True) for name in ("resnet18", "resnet50")
    )
    asked = [(grey, 28), (pictures, pictures.image_size), (pictures, 96)]
    asked += [(resnet18, 96), (resnet18, 128), (resnet18, 224), (resnet50, 128)]
    return {f"{one.name}, {one.backbone} of width {one.width}, {side} pixels": (one, side) for one, side in asked}


def operations_per_step(recipe: Recipe, data: str) -> float:
    """Count the operations of the forward and backward pass of one batch."""
    modality = modality_for(data)
    source = load_samples(modality, data, recipe=recipe)
    recipe, facts = fitted(modality, resolve_precision(recipe, Machine(accelerator="cpu")), source)
    views = build_views(modality, recipe, facts)
    samples = next(source.batches(range(recipe.batch_size), recipe.batch_size)).samples
    backbone = build_backbone(modality, recipe, facts)
    method = build_method(recipe, backbone, check_backbone(backbone, views.plain(samples[:2])))
    drawn = views.draw(samples, torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        method(drawn).total.backward()
    return float(counter.get_total_flops())


def peak(precision: str) -> float:
    """Return the operations per second of the fastest of some products of matrices in that precision."""
    matrix, times = torch.randn(SIDE, SIDE), []
    matrix = matrix.bfloat16() if precision.startswith("bf16") else matrix
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - started)
    return 2 * SIDE**3 / min(times)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of counted steps, for each case")
    flags = parser.parse_args()
    columns = "100 epochs of 1,000 pictures, hours | memory, MiB | share of the peak"
    print(f"| recipe | precision | images per second | {columns} |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        for title, (recipe, side) in cases().items():
            path = Path(name) / f"{side}.npy"
            channels = 1 if side == 28 else 3
            generator = np.random.default_rng(0)
            np.save(path, generator.integers(0, 256, (PICTURES, side, side, channels), dtype=np.uint8))
            asked = replace(recipe, batch_size=BATCH, image_size=side)
            precision = resolve_precision(asked, Machine(accelerator="cpu")).precision
            before = peak(precision)
            found = calibrate_apart(asked, str(path), None, seconds=flags.seconds, accelerator="cpu")
            share = operations_per_step(asked, str(path)) / found.seconds_per_step / max(before, peak(precision))
            rate = found.batch_size / found.seconds_per_step
            hours = 100 * 1000 / rate / HOUR
            memory = found.peak_memory / 2**20
            print(f"| {title} | {precision} | {rate:,.1f} | {hours:.2f} | {memory:,.0f} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
