"""Files to batches, by turns: ours, torchvision's ImageFolder with a DataLoader, and webdataset where it is installed.

    python benchmarks/decoding.py photos/

Each reads the same files, in batches and with two workers, and ends with uint8 tensors; ImageFolder's pictures are cut
to one size, as a stack asks for, which costs next to nothing. The workers of a turn are started anew by all but ours on
its second turn. Where simplejpeg is installed (the extra [jpeg]), its decoder alone stands beside. The fastest turn of
each counts, and is shown beside that of the fastest rival. Also: listing the files against a bare `os.scandir`, which
does not sort, look at links or know an image from other files.
"""

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from barlow.data.streaming import StreamSource
from barlow.images.data.folder import index_folder
from barlow.images.data.load import load_source

BATCH, WORKERS, SIDE = 64, 2, 128


def ours(root: Path, most: int) -> Callable[[], int]:
    """Return what reads the files through our source."""
    source = load_source(str(root), num_workers=WORKERS, memory_budget=0)
    assert isinstance(source, StreamSource)
    order = range(min(most, len(source)))
    return lambda: sum(len(batch.indices) for batch in source.batches(order, BATCH))


def image_folder(root: Path, most: int) -> Callable[[], int]:
    """Return what reads them as torchvision documents it."""
    found = ImageFolder(root, transform=v2.Compose([v2.CenterCrop(SIDE), v2.PILToTensor()]))
    part = torch.utils.data.Subset(found, range(min(most, len(found))))
    return lambda: sum(len(labels) for _, labels in DataLoader(part, batch_size=BATCH, num_workers=WORKERS))


def webdataset(root: Path, most: int, folder: Path) -> Callable[[], int]:
    """Return what reads them from two shards that are written before."""
    paths = [root / path for path in list(index_folder(root).paths)[:most]]
    for shard in range(WORKERS):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number, path in enumerate(paths[shard::WORKERS]):
                tar.add(path, f"{number:08d}{path.suffix}")
    wds: Any = import_module("webdataset")
    crop = v2.Compose([v2.CenterCrop(SIDE), v2.PILToTensor()])

    def read() -> int:
        shards = wds.WebDataset([str(folder / f"{shard}.tar") for shard in range(WORKERS)], shardshuffle=False)
        pictures = shards.decode("pil").to_tuple("jpg;jpeg;png").map_tuple(lambda p: crop(p.convert("RGB")))
        return sum(len(batch[0]) for batch in DataLoader(pictures.batched(BATCH), batch_size=None, num_workers=WORKERS))

    return read


class Decoded(torch.utils.data.Dataset[torch.Tensor]):
    """The fastest decoder alone: what simplejpeg makes of the bytes, cut to one size."""

    def __init__(self, paths: list[Path]) -> None:
        """Keep the paths."""
        self.paths, self.module = paths, "simplejpeg"

    def __len__(self) -> int:
        """Return their number."""
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one picture, (3, SIDE, SIDE)."""
        module: Any = import_module(self.module)
        pixels = module.decode_jpeg(self.paths[index].read_bytes())
        top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
        return torch.from_numpy(pixels[top : top + SIDE, left : left + SIDE]).permute(2, 0, 1).contiguous()


def decoder_alone(root: Path, most: int) -> Callable[[], int]:
    """Return what reads the files with nothing but the decoder and a DataLoader."""
    found = Decoded([root / path for path in list(index_folder(root).paths)[:most]])
    return lambda: sum(len(batch) for batch in DataLoader(found, batch_size=BATCH, num_workers=WORKERS))


def fastest(rivals: dict[str, Callable[[], int]], turns: int) -> dict[str, float]:
    """Return what one unit takes each, in seconds, measured by turns."""
    found = dict.fromkeys(rivals, float("inf"))
    for _ in range(turns):
        for name, run in rivals.items():
            started = time.perf_counter()
            number = run()
            found[name] = min(found[name], (time.perf_counter() - started) / number)
    return found


def scanned(root: Path) -> int:
    """Count the files below a folder, and do nothing else."""
    number, pending = 0, [str(root)]
    while pending:
        with os.scandir(pending.pop()) as scan:
            for entry in scan:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    number += 1
    return number


def show(times: dict[str, float], rest: Iterable[str] = ()) -> None:
    """Print microseconds, and how many times those of the fastest."""
    best = min(times.values())
    for name, seconds in times.items():
        print(f"| {name} | {1e6 * seconds:,.0f} | {seconds / best:.2f} |", flush=True)
    for line in rest:
        print(line)


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with a folder for every class, as ImageFolder wants it")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=3)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rivals = {"ours": ours(flags.folder, flags.files), "ImageFolder": image_folder(flags.folder, flags.files)}
        if find_spec("simplejpeg"):
            rivals["simplejpeg alone"] = decoder_alone(flags.folder, flags.files)
        if find_spec("webdataset"):
            rivals["webdataset"] = webdataset(flags.folder, flags.files, Path(name))
        print("| a picture decoded, 2 workers | microseconds | times the fastest |\n|---|--:|--:|")
        show(fastest(rivals, flags.turns))
    listing = {"ours": lambda: len(index_folder(flags.folder).paths), "os.scandir": lambda: scanned(flags.folder)}
    print("\n| a file listed | microseconds | times the fastest |\n|---|--:|--:|")
    show(fastest(listing, flags.turns))


if __name__ == "__main__":
    main()
