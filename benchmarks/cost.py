"""What pretraining costs: images per second and memory of whole steps, by network and size of the pictures.

    python benchmarks/cost.py

Steps of the loop as `barlow compare` measures them (data, views, network, loss, optimizer), each in a process of its
own, on pictures of noise in memory: what they show costs nothing, and files have to be decoded on top of it. Batches
of 32, so that it ends: small networks do up to twice as many images per second in batches of 128 (docs/choosing.md),
and memory grows with the batch.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from barlow.recipes import Recipe, recipe_for
from barlow.runs.timing import calibrate_apart

PICTURES, BATCH = 256, 32
HOUR = 3600


def cases() -> dict[str, tuple[Recipe, int]]:
    """Return (recipe, side of the pictures) by name."""
    folder, grey = recipe_for(None, "photos/"), recipe_for(None, "fashion-mnist")
    return {
        "small-grey, resnet10, 28 pixels": (grey, 28),
        "pictures, resnet18, 96 pixels": (folder, 96),
        "pictures, resnet18, 128 pixels": (folder, 128),
        "pictures, resnet18, 224 pixels": (folder, 224),
        "pictures, resnet50, 128 pixels": (replace(folder, backbone="resnet50"), 128),
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of counted steps, for each case")
    flags = parser.parse_args()
    print("| recipe | images per second | 100 epochs of 1,000 pictures, hours | memory, MiB |")
    print("|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as name:
        for title, (recipe, side) in cases().items():
            path = Path(name) / f"{side}.npy"
            channels = 1 if side == 28 else 3
            generator = np.random.default_rng(0)
            np.save(path, generator.integers(0, 256, (PICTURES, side, side, channels), dtype=np.uint8))
            found = calibrate_apart(
                replace(recipe, batch_size=BATCH, image_size=side), str(path), None, seconds=flags.seconds
            )
            rate = found.batch_size / found.seconds_per_step
            hours = 100 * 1000 / rate / HOUR
            memory = found.peak_memory / 2**20
            print(f"| {title} | {rate:,.1f} | {hours:.2f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
