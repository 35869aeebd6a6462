"""A million samples made here: how soon a run takes its first step, what a sample weighs, and what peers need for it.

    python benchmarks/scale.py --work /tmp/scale                     # a million, in shards and in a folder
    python benchmarks/scale.py --work /tmp/scale --samples 100000    # fewer, where disk or inodes are short
    python benchmarks/scale.py --work /tmp/scale --features          # embedding, duplicates and a map of a million

The samples are JPEGs of 32 x 32 pixels, which differ: what is measured is finding and reading them. Everything is made
below --work and removed at the end, unless --keep. Each figure is taken in a process of its own; peers that are not
installed are left out. Needs 6 GB and as many inodes as samples, for a million.
"""

import argparse
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PER_SHARD, PER_FOLDER, SIDE, BATCH = 10_000, 1000, 32, 256
DIFFERENT = 2000
"""Pictures that are drawn; each is there many times, and the bytes of each sample differ by a number at the end."""


def pictures() -> list[bytes]:
    """Small JPEGs."""
    random, found = np.random.default_rng(0), []
    for _ in range(DIFFERENT):
        file = io.BytesIO()
        coarse = random.integers(256, size=(4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "jpeg", quality=75)
        found.append(file.getvalue())
    return found


def sample(pool: list[bytes], number: int) -> bytes:
    """Bytes of one sample: a picture, and behind its end its number."""
    return pool[number % len(pool)] + number.to_bytes(4, "little")


def make_shards(folder: Path, number: int) -> None:
    """Write shards by our own writer, with classes."""
    from barlow.data.stored.write_shards import write_shards

    pool = pictures()
    rows = ((f"{n:09d}.jpg", sample(pool, n), n % 1000) for n in range(number))
    write_shards(rows, folder, per_shard=PER_SHARD)


def make_folder(folder: Path, number: int) -> None:
    """Write a file for each sample, in folders of classes."""
    pool = pictures()
    for start in range(0, number, PER_FOLDER):
        place = folder / f"class{start // PER_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        for n in range(start, min(start + PER_FOLDER, number)):
            handle = os.open(f"{place}/{n:09d}.jpg", os.O_WRONLY | os.O_CREAT)
            os.write(handle, sample(pool, n))
            os.close(handle)


def first_step(data: Path | str, out: Path, most: float) -> tuple[float, float]:
    """Seconds from the command to the first step in the journal, by the clock and of the processor."""
    command = [sys.executable, "-m", "barlow", "pretrain", str(data), "--out", str(out), "--epochs", "1", "--quiet"]
    command += ["--batch-size", str(BATCH), "--image-size", str(SIDE), "--width", "8"]
    started, journal, before = time.perf_counter(), out / "journal.jsonl", resource.getrusage(resource.RUSAGE_CHILDREN)
    with (out.with_suffix(".log")).open("wb") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log)
        while time.perf_counter() - started < most and run.poll() is None:
            if journal.exists() and '"event": "step"' in journal.read_text():
                break
            time.sleep(0.05)
        seconds = time.perf_counter() - started
        if run.poll() is not None:
            raise RuntimeError(f"the run ended before its first step: {out.with_suffix('.log').read_text()[-500:]}")
        run.send_signal(signal.SIGKILL)
        run.wait()
    shutil.rmtree(out, ignore_errors=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def command(*words: object, most: float | None = None) -> tuple[float, float]:
    """Run `barlow` with some words, to its end or until it is killed; return seconds by the clock and the processor."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.Popen([sys.executable, "-m", "barlow", *map(str, words), "--quiet"])
    try:
        if done.wait(most):
            raise RuntimeError(f"barlow {words[0]}: ended with {done.returncode}")
    except subprocess.TimeoutExpired:
        done.send_signal(signal.SIGKILL)
        done.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def show_embedding(work: Path) -> None:
    """Embed all shards with a small network; killed after half a minute, the same command goes on."""
    from barlow import read_embeddings

    run, out = work / "embedder", work / "h.parquet"
    numbers = ("--epochs", 1, "--batch-size", BATCH, "--image-size", 16, "--width", 4, "--precision", "32-true")
    command("pretrain", work / "few" / "shards", "--out", run, *numbers)
    killed, first = command("embed", run, work / "shards", "--out", out, most=30)
    whole, rest = command("embed", run, work / "shards", "--out", out)
    found = read_embeddings(out)
    size = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"\nembedded {len(found.names):,} samples ({len(set(found.names)):,} names), {found.h.shape[1]} features, "
          f"ResNet-10 of width 4, 16 pixels: {killed:.0f} s, and {whole:.0f} s by the second call ({first + rest:.0f} "
          f"of the processor), {size / 1e9:.1f} GB at most", flush=True)  # fmt: skip


def show_features(number: int) -> None:
    """Duplicates and a map of so many embeddings of 128 numbers in 1,000 clusters, every hundredth of them twice."""
    from barlow.features.duplicates import find_duplicates
    from barlow.features.projection import project

    torch = import_module("torch")
    draws = torch.Generator().manual_seed(0)
    h = torch.randn(1000, 128, generator=draws)[torch.randint(1000, (number,), generator=draws)]
    h = h + torch.randn(number, 128, generator=draws)
    copies = number // 100
    h[number - copies :] = h[:copies]
    for name in ("duplicates", "map"):
        started, worked = time.perf_counter(), time.process_time()
        if name == "duplicates":
            groups = {frozenset(group) for group in find_duplicates(h).groups}
            hits = sum(frozenset((one, number - copies + one)) in groups for one in range(copies))
            said = f"{hits:,} of {copies:,} copies found, {len(groups):,} groups"
        else:
            places = project(h)
            said = f"{places.method}; trustworthiness {places.trustworthiness:.2f}"
        took, work = time.perf_counter() - started, time.process_time() - worked
        print(f"{name} of {number:,} embeddings: {took:.0f} s ({work:.0f} of the processor), {peak() / 1e9:.1f} GB "
              f"at most so far; {said}", flush=True)  # fmt: skip


def ours(place: str) -> Callable[[], Any]:
    """Our source, read when it is asked for."""
    from barlow.images.data.load import load_source

    return lambda: load_source(place, memory_budget=0, num_workers=0)


def first_batch_of_ours(source: Any) -> int:
    """Read the first batch of an epoch, in its order."""
    from barlow.training.order import batches_from
    from barlow.training.plan import Plan

    plan = Plan(1, BATCH, seed=0, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=9.0, floor=None)
    _, share = next(iter(batches_from(source, plan, first_step=0, rank=0, world=1)))
    assert share is not None
    return len(share.samples)


def image_folder(place: str) -> Callable[[], Any]:
    """torchvision's, as it is documented."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    return lambda: ImageFolder(place, transform=v2.PILToTensor())


def first_batch_of_loader(dataset: Any) -> int:
    """Read the first batch in random order, by torch's loader."""
    from torch.utils.data import DataLoader

    samples, _ = next(iter(DataLoader(dataset, batch_size=BATCH, shuffle=True)))
    return len(samples)


def webdataset(place: str) -> Callable[[], Any]:
    """The one of webdataset, with a shuffle buffer, as it is documented."""
    wds, v2 = import_module("webdataset"), import_module("torchvision.transforms.v2")
    shards = sorted(map(str, Path(place).glob("*.tar")))

    def make() -> Any:
        found = wds.WebDataset(shards, shardshuffle=100).shuffle(1000).decode("pil").to_tuple("jpg", "cls")
        return found.map_tuple(v2.PILToTensor(), int).batched(BATCH)

    return make


def first_of_iterable(dataset: Any) -> int:
    """Read the first batch of what gives them one after the other."""
    samples, _ = next(iter(dataset))
    return len(samples)


def hugging_face(place: str) -> Callable[[], Any]:
    """Hugging Face's reader of shards, streaming with a shuffle buffer: without, it would copy them into its cache."""
    datasets = import_module("datasets")
    shards = sorted(map(str, Path(place).glob("*.tar")))

    def make() -> Any:
        found = datasets.load_dataset("webdataset", data_files={"train": shards}, split="train", streaming=True)
        return found.shuffle(buffer_size=1000, seed=0)

    return make


def first_of_rows(dataset: Any) -> int:
    """Read and decode the first rows."""
    pixels = [np.asarray(row["jpg"]) for row, _ in zip(dataset, range(BATCH), strict=False)]
    return len(pixels)


READERS: dict[str, tuple[str, Callable[[str], Callable[[], Any]], Callable[[Any], int], str]] = {
    "ours, shards": ("shards", ours, first_batch_of_ours, ""),
    "webdataset, shards (order of a buffer)": ("shards", webdataset, first_of_iterable, "webdataset"),
    "datasets, shards, streaming (order of a buffer)": ("shards", hugging_face, first_of_rows, "datasets"),
    "ours, folder": ("folder", ours, first_batch_of_ours, ""),
    "torchvision ImageFolder, folder": ("folder", image_folder, first_batch_of_loader, ""),
}
"""Name -> its data, what makes it, what reads its first batch, and the package that it needs."""


def peak() -> int:
    """Bytes of the largest size that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read(name: str, work: Path) -> dict[str, float]:
    """In a process of its own: seconds to make a reader and to read the first batch, and how much the process grew."""
    place, make, first, _ = READERS[name]
    maker = make(str(work / place))
    warm = make(str(work / "few" / place))()  # imports, and what any number of samples takes
    first(warm)
    before, started, worked = peak(), time.perf_counter(), time.process_time()
    source = maker()
    made = time.perf_counter() - started
    assert first(source) == BATCH
    both = time.perf_counter() - started
    return {"made": made, "first": both, "cpu": time.process_time() - worked, "grown": float(peak() - before)}


def measured(name: str, work: Path) -> dict[str, float]:
    """Run `read` in a new process."""
    command = [sys.executable, __file__, "--work", str(work), "--read", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-800:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show_readers(work: Path, number: int) -> None:
    """Print what each reader takes for its first batch, and bytes a sample."""
    print(f"\n{number:,} samples; a new process each, its imports not counted; wall seconds (processor seconds)\n")
    print("| reader | first batch of 256 | of it opening | bytes a sample |\n|---|--:|--:|--:|")
    for name, (_, _, _, package) in READERS.items():
        if package and not find_spec(package):
            print(f"| {name} | not installed | | |")
            continue
        turns = ["cold", "again"] if name.startswith("ours, shards") else [""]
        for turn in turns:
            found = measured(name, work)
            label = f"{name}, {'headers not in the cache' if turn == 'cold' else 'in the cache'}" if turn else name
            print(f"| {label} | {found['first']:.2f} ({found['cpu']:.2f}) | {found['made']:.2f} "
                  f"| {found['grown'] / number:.0f} |", flush=True)  # fmt: skip


def show_first_steps(work: Path) -> None:
    """Print how soon runs take their first step, beside one that has nothing to find."""
    print("| data | seconds | of the processor | wanted |\n|---|--:|--:|--:|")
    rows: list[tuple[str, Path | str, int | str]] = [
        ("digits: imports alone", "digits", ""),
        ("shards, headers not in the cache", work / "shards", 10),
        ("shards", work / "shards", 10),
        ("folder", work / "folder", 30),
    ]
    for name, place, wanted in rows:
        seconds, used = first_step(place, work / "run", 600)
        print(f"| {name} | {seconds:.1f} | {used:.1f} | {wanted} |", flush=True)


def show_order() -> None:
    """Print what the order of a billion samples takes."""
    from barlow.training.order import positions_of
    from barlow.training.plan import Plan

    plan = Plan(1, BATCH, seed=0, factor=lambda _: 1.0, clip_norm=0.0, checkpoint_minutes=9.0, floor=None)
    before, started = peak(), time.process_time()
    order = positions_of(10**9, plan=plan, epoch=3, first_step=0, rank=0, world=1)
    for step in range(1000):
        order[step * BATCH : (step + 1) * BATCH]
    each = (time.process_time() - started) / 1000 / BATCH
    print(f"\norder of 1,000,000,000 samples: {1e6 * each:.2f} microseconds a position, {peak() - before:,} bytes")


def main() -> None:
    """Make the samples, measure, and remove them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder that is made, and removed at the end")
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--folder-samples", type=int, default=0, help="of the folder; 0: as many")
    parser.add_argument("--keep", action="store_true", help="leave the samples, for another call")
    parser.add_argument("--make", action="store_true", help="make them and leave")
    parser.add_argument("--steps", action="store_true", help="the first steps of runs alone")
    parser.add_argument("--features", action="store_true", help="embedding, duplicates and a map alone, from shards")
    parser.add_argument("--read", default="", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    os.environ["BARLOW_CACHE"] = str(flags.work / "cache")
    if flags.read:
        print(json.dumps(read(flags.read, flags.work)))
        return
    number, files = flags.samples, flags.folder_samples or flags.samples
    makers = [("shards", make_shards, number), ("folder", make_folder, files)]
    for place, make, count in makers[:1] if flags.features else makers:
        for folder, many in ((flags.work / place, count), (flags.work / "few" / place, 2 * BATCH)):
            if not folder.exists():
                started = time.perf_counter()
                make(folder, many)
                print(f"made {many:,} samples in {folder}: {time.perf_counter() - started:.0f} s", flush=True)
    if flags.make:
        return
    if flags.features:
        show_embedding(flags.work)
        show_features(number)
    elif not flags.steps:
        shutil.rmtree(flags.work / "cache", ignore_errors=True)
        show_readers(flags.work, number)
        show_order()
    if not flags.features:
        shutil.rmtree(flags.work / "cache", ignore_errors=True)
        print("\n`barlow pretrain`, from the command to the first step in the journal, imports and all\n")
        show_first_steps(flags.work)
    if not flags.keep:
        shutil.rmtree(flags.work)


if __name__ == "__main__":
    main()
