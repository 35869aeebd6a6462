"""Views per second: ours beside torchvision v2 applied to one image at a time, same recipe, same cores, one run.

    python benchmarks/views.py [--recipe byol] [--size 224] [--batch 128] [--repeats 5] [--threads 2]

Without --recipe and --size: cifar and byol at 32 pixels, byol at 224 from 256 x 256 images. All start from uint8
tensors in memory and end with normalised float32. torchvision runs twice: as a loop in one process whose operations
have all threads, and as a loop in as many processes as threads, each on its share of the images; their results stay
where they are, so nothing is paid for sending them. The three are interleaved repeat by repeat, so that a machine that
slows down slows all of them. Views per second are medians; the ratio is ours over the better of the two torchvision
runs of the same repeat, median with smallest and largest.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.published import image_views
from barlow.seams import Views

CASES = (("cifar", 32), ("byol", 32), ("byol", 224))
BLUR_TAPS = 23  # torchvision has to be told; ours has the same


def source_side(size: int) -> int:
    """Return the side of the images that are cropped: pictures of ImageNet come larger than the view."""
    return 256 if size == 224 else size


def torchvision_pipeline(ours: ImagePipeline) -> Callable[[Tensor], Tensor]:
    """Return the same recipe as transforms of one uint8 image."""
    assert ours.crop_scale is not None
    filters = InterpolationMode(ours.interpolation)
    steps: list[Any] = [v2.RandomResizedCrop(ours.size, ours.crop_scale, ours.crop_ratio, filters, antialias=True)]
    steps.append(v2.RandomHorizontalFlip(ours.flip))
    jitter = v2.ColorJitter(ours.brightness, ours.contrast, ours.saturation, ours.hue)
    steps += [v2.RandomApply([jitter], ours.jitter), v2.RandomGrayscale(ours.gray)]
    if ours.blur[0]:
        steps.append(v2.RandomApply([v2.GaussianBlur(BLUR_TAPS, ours.blur_sigma)], ours.blur[0]))
    if ours.solarize[0]:
        steps.append(v2.RandomSolarize(128, ours.solarize[0]))
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(ours.mean), list(ours.std))]
    pipeline: Callable[[Tensor], Tensor] = v2.Compose(steps)
    return pipeline


def image_pipelines(views: Views) -> list[ImagePipeline]:
    """Return the pipelines of a recipe with their numbers."""
    return [view for view in views.pipelines if isinstance(view, ImagePipeline)]


def loop(pipelines: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> None:
    """Make every view of every image, one at a time."""
    for pipeline in pipelines:
        for image in images:
            pipeline(image)


_worker: Callable[[], None]


def start_worker(recipe: str, size: int, share: int) -> None:
    """Prepare a process of the torchvision run: its images and transforms, one thread."""
    global _worker
    torch.set_num_threads(1)
    pipelines = image_pipelines(image_views(recipe, size=size, channels=3))
    _worker = partial(loop, [torchvision_pipeline(p) for p in pipelines], random_images(share, source_side(size)))
    _worker()


def run_worker(_: int) -> None:
    """Make the views of this process's share."""
    _worker()


def random_images(num_samples: int, side: int) -> Tensor:
    """Return noise; no transform's time depends on what is in the picture."""
    return torch.randint(0, 256, (num_samples, 3, side, side), dtype=torch.uint8)


def compare(recipe: str, size: int, batch: int, repeats: int, threads: int) -> dict[str, list[float]]:
    """Return seconds for all views of the batch, by contestant and repeat."""
    images = random_images(batch, source_side(size))
    views = image_views(recipe, size=size, channels=3)
    theirs = [torchvision_pipeline(p) for p in image_pipelines(views)]
    generator = torch.Generator().manual_seed(0)
    arguments = (recipe, size, batch // threads)
    with ProcessPoolExecutor(threads, get_context("spawn"), start_worker, arguments) as processes:
        contestants: dict[str, Callable[[], object]] = {
            "ours": lambda: views.draw(images, generator),
            "loop": lambda: loop(theirs, images),
            "processes": lambda: list(processes.map(run_worker, range(threads))),
        }
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for repeat in range(repeats + 1):
            for name, run in contestants.items():
                start = time.perf_counter()
                run()
                if repeat:  # the first one warms up
                    times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", help="default: byol if --size is given")
    parser.add_argument("--size", type=int, help="side of a view; default: 32 if --recipe is given")
    parser.add_argument("--batch", type=int, help="images; default: 256 up to 64 pixels, else 64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    cases = [(flags.recipe or "byol", flags.size or 32)] if flags.recipe or flags.size else CASES
    print("| recipe | pixels | images | ours, views/s | torchvision loop | processes | times the better of them |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for recipe, size in cases:
        batch = flags.batch or (256 if size <= 64 else 64)
        batch -= batch % flags.threads
        times = compare(recipe, size, batch, flags.repeats, flags.threads)
        made = 2 * batch
        cells = [f"{made / statistics.median(times[name]):,.0f}" for name in ("ours", "loop", "processes")]
        best = [min(pair) for pair in zip(times["loop"], times["processes"], strict=True)]
        ratios = [b / a for a, b in zip(times["ours"], best, strict=True)]
        ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"| {recipe} | {size} | {batch} | {' | '.join(cells)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
