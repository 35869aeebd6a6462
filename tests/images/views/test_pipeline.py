"""A pipeline draws and applies apart: replayable, one transform at a time, and distributed as torchvision's."""

import io
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from barlow.images.views import colour
from barlow.images.views.pipeline import ImagePipeline, in_chunks
from barlow.images.views.published import image_views
from tests.images.views.drawing import batch, generator, same_distribution

EVERYTHING = ImagePipeline(
    size=20,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.25),
    crop_scale=(0.2, 1.0),
    flip=0.5,
    rotation=20.0,
    translation=0.1,
    zoom=(0.9, 1.1),
    shear=5.0,
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.2,
    hue=0.1,
    gray=0.3,
    blur=(0.6, 0.2),
    solarize=(0.1, 0.5),
    gain=0.3,
    shift=0.1,
    noise=0.1,
)
TRANSFORMS = ["variant", "crop", "flip", "affine", "jitter", "gray", "blur", "solarize", "contrast", "noise"]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_same_params_give_the_same_view_bit_for_bit() -> None:
    images = batch()
    before = images.clone()
    params = EVERYTHING.sample(images, generator())
    assert list(params) == TRANSFORMS
    view = EVERYTHING.apply(images, params)
    assert torch.equal(view, EVERYTHING.apply(images, params))
    assert torch.equal(images, before)
    assert (view.shape, view.dtype) == ((40, 3, 20, 20), torch.float32)
    assert view.isfinite().all()


def test_saved_and_loaded_params_give_the_same_view_bit_for_bit() -> None:
    images, file = batch(), io.BytesIO()
    params = EVERYTHING.sample(images, generator())
    torch.save(params, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert torch.equal(EVERYTHING.apply(images, params), EVERYTHING.apply(images, loaded))


def test_a_seed_fixes_the_draws_and_the_next_draw_differs() -> None:
    images, source = batch(), generator(5)
    first, second = EVERYTHING.sample(images, source), EVERYTHING.sample(images, source)
    again = EVERYTHING.sample(images, generator(5))
    for name, drawn in first.items():
        for key, values in drawn.items():
            assert len(values) == len(images)
            assert torch.equal(values, again[name][key])
            assert not torch.equal(values, second[name][key])


def test_draws_of_a_transform_do_not_depend_on_the_other_transforms() -> None:
    images = batch()
    other = replace(EVERYTHING, crop_scale=None, flip=0.0, jitter=0.1, hue=0.0, blur=(0.0,), solarize=(0.9,))
    ours, theirs = EVERYTHING.sample(images, generator()), other.sample(images, generator())
    assert set(ours) - set(theirs) == {"variant", "crop", "flip", "blur"}
    for name, drawn in theirs.items():
        for key, values in drawn.items():
            assert torch.equal(values, ours[name][key]), (name, key)


def test_replacing_the_blur_changes_only_what_the_blur_does() -> None:
    pipeline = replace(EVERYTHING, gain=0.0, shift=0.0, noise=0.0, blur=(0.5,), solarize=(0.4,))
    images = batch()
    one, two = pipeline.sample(images, generator(1)), pipeline.sample(images, generator(2))
    mixed = {**one, "blur": two["blur"]}
    view, base = pipeline.apply(images, mixed), pipeline.apply(images, one)
    blurred = [params["blur"]["coin"] < 0.5 for params in (one, two)]
    neither = ~blurred[0] & ~blurred[1]
    assert torch.equal(view[neither], base[neither])
    changed = (view != base).flatten(1).any(1)
    assert torch.equal(changed, ~neither)

    early = {name: drawn for name, drawn in one.items() if name not in ("blur", "solarize")}
    mean, std = (torch.tensor(x)[:, None, None] for x in (pipeline.mean, pipeline.std))
    unit = pipeline.apply(images, early) * std + mean
    unit[blurred[1]] = colour.blur(unit[blurred[1]], two["blur"]["sigma"][blurred[1]])
    dark = one["solarize"]["coin"] < 0.4
    unit[dark] = colour.solarize(unit[dark])
    torch.testing.assert_close(view, (unit - mean) / std, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_has_an_effect_and_can_be_left_out(name: str) -> None:
    images = batch()
    params = EVERYTHING.sample(images, generator())
    fewer = {key: drawn for key, drawn in params.items() if key != name}
    if name == "variant":
        fewer[name] = {"index": 1 - params[name]["index"]}
    view, without = EVERYTHING.apply(images, params), EVERYTHING.apply(images, fewer)
    assert (view != without).any()


def test_a_view_of_a_sample_does_not_depend_on_its_batch() -> None:
    images = batch(12)
    params = EVERYTHING.sample(images, generator())
    whole = EVERYTHING.apply(images, params)
    for i in range(12):
        own = {name: {k: v[i : i + 1] for k, v in drawn.items()} for name, drawn in params.items()}
        alone = EVERYTHING.apply(images[i : i + 1], own)
        torch.testing.assert_close(alone[0], whole[i], atol=1e-5, rtol=0)


def test_views_do_not_depend_on_the_number_of_threads(threads: None) -> None:
    images = batch(24, side=96)
    pipeline = replace(EVERYTHING, size=96)
    views = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        views.append(pipeline.apply(images, pipeline.sample(images, generator())))
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])


def test_chunks_get_the_samples_and_params_that_belong_together(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    images = batch(7)
    params = EVERYTHING.sample(images, generator())
    whole = EVERYTHING.apply(images, params)
    monkeypatch.setattr("barlow.images.views.pipeline._CHUNK_BYTES", 2 * 4 * 3 * 20 * 20)
    for count in (1, 2):
        torch.set_num_threads(count)
        torch.testing.assert_close(EVERYTHING.apply(images, params), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(EVERYTHING.apply(list(images / 255), params), whole, atol=3e-5, rtol=0)
        with torch.inference_mode():
            torch.testing.assert_close(EVERYTHING.apply(images, params), whole, atol=1e-5, rtol=0)


def test_uniform_batch_and_ragged_list_give_the_same_views() -> None:
    images = batch()
    params = EVERYTHING.sample(list(images), generator())
    ragged = EVERYTHING.apply([image / 255 for image in images], params)
    torch.testing.assert_close(EVERYTHING.apply(images, params), ragged, atol=3e-5, rtol=0)


def test_images_of_unequal_size_become_one_batch() -> None:
    images = [batch(1, side=s)[0][:, : s - 3] for s in (8, 30, 90, 300)]
    view = EVERYTHING.apply(images, EVERYTHING.sample(images, generator()))
    assert view.shape == (4, 3, 20, 20)
    assert view.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("num_samples", [0, 1, 2])
def test_small_batches_of_any_image_type_work(dtype: torch.dtype, num_samples: int) -> None:
    pipeline = replace(EVERYTHING, size=8)
    images = batch(num_samples, side=8)
    images = images if dtype == torch.uint8 else (images / 255).to(dtype)
    view = pipeline.apply(images, pipeline.sample(images, generator()))
    assert (view.shape, view.dtype) == ((num_samples, 3, 8, 8), torch.float32)


def test_floats_in_the_unit_interval_are_the_uint8_levels() -> None:
    images = batch()
    params = EVERYTHING.sample(images, generator())
    view = EVERYTHING.apply(images, params)
    torch.testing.assert_close(EVERYTHING.apply(images / 255, params), view, atol=3e-5, rtol=0)


def test_memory_format_and_autocast_and_inference_mode_change_nothing() -> None:
    images = batch(side=96, num_samples=80)
    pipeline = replace(EVERYTHING, size=64)
    params = pipeline.sample(images, generator())
    view = pipeline.apply(images, params)
    assert torch.equal(pipeline.apply(images.to(memory_format=torch.channels_last), params), view)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pipeline.apply(images, params), view)
    with torch.inference_mode():
        assert torch.equal(pipeline.apply(images, params), view)
    assert not view.requires_grad


def test_views_are_distributed_as_those_of_torchvision() -> None:
    side, count = 24, 800
    published = image_views("byol", size=side, channels=3).pipelines[1]
    assert isinstance(published, ImagePipeline)
    pipeline = replace(published, blur=(0.5,))
    theirs = v2.Compose(
        [
            v2.RandomResizedCrop(side, interpolation=InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], 0.5),
            v2.RandomSolarize(128, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(pipeline.mean), list(pipeline.std)),
        ]
    )
    image = v2.functional.resize(batch(1, side=6)[0], [32, 32])
    torch.manual_seed(3)
    expected = torch.stack([theirs(image) for _ in range(count)])
    images = image.expand(count, -1, -1, -1)
    views = pipeline.apply(images, pipeline.sample(images, generator(4)))

    def figures(x: Tensor) -> dict[str, Tensor]:
        red, green, _ = x.mean((2, 3)).unbind(1)
        left, right = x[..., : side // 2].mean((1, 2, 3)), x[..., side // 2 :].mean((1, 2, 3))
        edges = x.diff(dim=3).abs().mean((1, 2, 3))
        return {
            "mean": x.mean((1, 2, 3)),
            "std": x.std((1, 2, 3)),
            "colour": red - green,
            "flip": left - right,
            "sharp": edges,
        }

    for name, values in figures(views).items():
        assert same_distribution(values, figures(expected)[name]), name


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"mean, std: got 3 and 1 entries"):
        ImagePipeline(size=8, mean=(0.5, 0.5, 0.5), std=(1.0,))
    with pytest.raises(ValueError, match=r"blur, solarize: got 1 and 2 entries"):
        replace(EVERYTHING, blur=(0.5,))
    with pytest.raises(ValueError, match=r"size: got 0, wanted at least 1"):
        replace(EVERYTHING, size=0)
    with pytest.raises(ValueError, match=r"hue, gray: got 0.0 and 0.2, wanted 0 for 1 channels"):
        ImagePipeline(size=8, mean=(0.5,), std=(1.0,), gray=0.2)
    with pytest.raises(ValueError, match=r"batch: got images with 1 channels, wanted 3"):
        EVERYTHING.apply(batch(channels=1), {})
    with pytest.raises(ValueError, match=r"batch: got torch.int64, wanted uint8"):
        EVERYTHING.apply([image.long() for image in batch()], {})


@pytest.fixture(params=[1, 2])
def num_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("num_samples", [0, 1, 5, 6, 7, 100])
def test_chunks_cover_every_sample_once_and_are_never_too_long(num_threads: int, num_samples: int) -> None:
    seen: list[int] = []
    lengths: list[int] = []

    def work(rows: slice) -> None:
        seen.extend(range(num_samples)[rows])
        lengths.append(len(range(num_samples)[rows]))

    in_chunks(work, num_samples, 3)
    assert sorted(seen) == list(range(num_samples))
    assert max(lengths, default=0) <= 3


def test_torch_has_its_threads_afterwards_and_one_while_chunks_run_side_by_side(num_threads: int) -> None:
    during: list[int] = []
    in_chunks(lambda rows: during.append(torch.get_num_threads()), 4, 1)
    assert during == [1] * 4
    assert torch.get_num_threads() == num_threads
    born_later: list[int] = []
    thread = threading.Thread(target=lambda: born_later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert born_later == [num_threads]


def test_an_error_in_a_chunk_is_not_lost(num_threads: int) -> None:
    def work(rows: slice) -> None:
        if rows.start == 3:
            raise ValueError("chunk 3")

    with pytest.raises(ValueError, match="chunk 3"):
        in_chunks(work, 5, 1)
    assert torch.get_num_threads() == num_threads
