"""Views on a GPU: a seed means the pixels of the CPU, in bounded memory, and faster."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from barlow.images.views.published import VIEWS, image_views
from barlow.seams import to_device

pytestmark = pytest.mark.usefixtures("as_users_call_it")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def drawn(name: str, batch: Tensor | list[Tensor], size: int, channels: int) -> list[Tensor]:
    views = image_views(name, size=size, channels=channels).draw(batch, generator())
    return [getattr(view, "images", view) for view in views]


@pytest.mark.parametrize("name", VIEWS)
def test_a_seed_means_the_same_pixels_as_on_the_cpu(name: str) -> None:
    channels = 1 if "grey" in name else 3
    batch = torch.rand(12, channels, 48, 48, generator=generator())  # floats: nothing is rounded to uint8 on the way
    for ours, expected in zip(
        drawn(name, to_device(batch, "cuda"), 32, channels), drawn(name, batch, 32, channels), strict=True
    ):
        assert ours.is_cuda
        # Solarisation and grey pixels' hue turn on a hair: all but a few pixels.
        far = (ours.cpu() - expected).abs() > 1e-3
        assert float(far.float().mean()) < 1e-3


def test_a_list_of_pictures_travels_at_once_and_gives_the_pixels_of_the_cpu() -> None:
    pictures = [torch.rand(3, 60 + 7 * i, 200 - 9 * i, generator=generator()) for i in range(12)]
    moved = to_device(pictures, "cuda")
    assert len({picture.untyped_storage().data_ptr() for picture in moved}) == 1
    for ours, expected in zip(drawn("byol", moved, 64, 3), drawn("byol", pictures, 64, 3), strict=True):
        assert float(((ours.cpu() - expected).abs() > 1e-3).float().mean()) < 1e-3


def seconds(work: Callable[[], object]) -> float:
    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / 3


def test_a_batch_of_224_pixels_takes_bounded_memory_and_less_time_than_on_the_cpu() -> None:
    batch = torch.randint(0, 256, (256, 3, 256, 256), dtype=torch.uint8, generator=generator())
    there = to_device(batch, "cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    on_gpu = seconds(lambda: drawn("byol", there, 224, 3))
    views = 2 * 256 * 3 * 224 * 224 * 4
    assert torch.cuda.max_memory_allocated() - before < 2 * views + 2**30
    on_cpu = seconds(lambda: drawn("byol", batch[:32], 224, 3)) * 8
    print(
        f"views of 224 pixels: {512 / on_gpu:,.0f} a second on {torch.cuda.get_device_name()}, {512 / on_cpu:,.0f} here"
    )
    assert on_gpu < on_cpu / 2
