"""Near copies planted among photographs: how many are found, and how many strangers are taken for copies.

    python benchmarks/duplicates.py RUN photos/

Of 2,000 photographs of the folder 20 are copied: smaller by 30%, cropped by 4% at random, or brighter by 15%, each
saved as JPEG of quality 40 to 80; the network is that of RUN, which learnt from the folder. Precision counts a pair of
two originals as wrong, whether or not they show the same thing: what is in the folder twice is listed below the table.
"""

import argparse
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from barlow import open_run
from barlow.runs.features import duplicates

PHOTOGRAPHS, COPIES = 2000, 20


def near_copy(picture: Image.Image, draws: np.random.Generator, path: Path) -> None:
    """Save a picture changed a little, in one of three ways or only by its JPEG."""
    width, height = picture.size
    kind = int(draws.integers(4))
    if kind == 0:
        picture = picture.resize((int(0.7 * width), int(0.7 * height)))
    elif kind == 1:
        left, top = int(0.04 * width * draws.random()), int(0.04 * height * draws.random())
        picture = picture.crop((left, top, left + int(0.96 * width), top + int(0.96 * height)))
    elif kind == 2:
        picture = ImageEnhance.Brightness(picture).enhance(1.15)
    picture.save(path, quality=int(draws.integers(40, 80)))


def planted(photos: Path, folder: Path, seed: int) -> set[frozenset[str]]:
    """Link photographs into a folder and save near copies of some; return the pairs."""
    draws = np.random.default_rng(seed)
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = [paths[place] for place in draws.permutation(len(paths))[:PHOTOGRAPHS]]
    for number, path in enumerate(chosen):
        (folder / f"{number:04d}{path.suffix}").symlink_to(path.resolve())
    pairs = set()
    for number in draws.permutation(len(chosen))[:COPIES]:
        copy = folder / f"copy-{number:04d}.jpg"
        near_copy(Image.open(chosen[number]).convert("RGB"), draws, copy)
        pairs.add(frozenset((f"{number:04d}{chosen[number].suffix}", copy.name)))
    return pairs


def main() -> None:
    """Plant, search, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    flags = parser.parse_args()
    run = open_run(flags.run)
    print("| seed | recall | precision | threshold |\n|--:|--:|--:|--:|")
    others: set[frozenset[str]] = set()
    for seed in range(flags.seeds):
        with tempfile.TemporaryDirectory() as name:
            wanted = planted(flags.photos, Path(name), seed)
            of = run.sampled(name)
            found = duplicates(of)
            names = [Path(one).name for one in of.embeddings.names]
            pairs = {frozenset((names[a], names[b])) for group in found.groups for a, b in combinations(group, 2)}
        others |= pairs - wanted
        right = len(pairs & wanted)
        print(f"| {seed} | {right / len(wanted):.2f} | {right / max(1, len(pairs)):.2f} | {found.threshold:.2f} |")
    for pair in sorted(map(sorted, others)):
        print(*pair)


if __name__ == "__main__":
    main()
