import numpy as np
import pytest
import torch

from barlow.data.bad_samples import ANY, MOST_BAD, BadDataError
from barlow.images.data.pixels import reading_of, source_of, to_images, with_channels
from tests.images.data.making import Pixels, noise


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((5, 7, 9), (5, 1, 7, 9)),
        ((5, 3, 7, 9), (5, 3, 7, 9)),
        ((5, 7, 9, 3), (5, 3, 7, 9)),
        ((5, 7, 9, 1), (5, 1, 7, 9)),
        ((5, 13, 64, 64), (5, 13, 64, 64)),
        ((5, 64, 64, 13), (5, 13, 64, 64)),
    ],
)
def test_the_channel_axis_is_the_smaller_of_the_second_and_the_last(
    shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    values = noise(*shape)
    found, bad, *_ = to_images(values)
    assert found.shape == wanted
    assert bad == {}
    assert found.float().mean() == pytest.approx(values.mean(), rel=1e-5)
    sample = values[4] if values.ndim == 4 else values[4][None]
    planes = sample if sample.shape == wanted[1:] else np.moveaxis(sample, -1, 0)
    assert torch.equal(found[4], torch.from_numpy(planes.copy()))


def test_bytes_are_used_where_they_lie() -> None:
    values = noise(4, 6, 6, 3)
    found = to_images(values)[0]
    values[2, 3, 4, 1] = 77
    assert found[2, 1, 3, 4] == 77
    assert torch.equal(found, torch.from_numpy(values).permute(0, 3, 1, 2))


def test_read_only_and_reversed_arrays_are_read_without_a_warning() -> None:
    values = noise(4, 6, 6)
    values.flags.writeable = False
    assert torch.equal(to_images(values)[0][:, 0], torch.from_numpy(values.copy()))
    assert torch.equal(to_images(values[::-1])[0][:, 0], torch.from_numpy(values[::-1].copy()))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0.0, 0.5, 1.0], dtype=np.float32), [0, 128, 255]),
        (np.array([0.0, 0.5, 1.0], dtype=np.float64) * 1.0005, [0, 128, 255]),
        (np.array([0.0, 16.4, 255.0], dtype=np.float16), [0, 16, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 16, 255], dtype=np.int64), [0, 16, 255]),
        (np.array([0, 64250, 65535], dtype=np.uint16), [0, 250, 255]),
        (np.array([0, 257, 65535], dtype=">i4"), [0, 1, 255]),
    ],
)
def test_numbers_of_any_format_become_bytes(values: Pixels, wanted: list[int]) -> None:
    found = to_images(values.reshape(1, 1, 3))[0]
    assert found.dtype == torch.uint8
    assert found.flatten().tolist() == wanted


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_whole_numbers_are_scaled_from_the_next_bit_depth_of_the_whole_array(bits: int) -> None:
    top = 2**bits - 1
    values = np.linspace(0, top * 0.6, 3000).astype(np.uint16).reshape(3, 1, 1000)
    found, _, notes, *_ = to_images(values)
    assert torch.equal(found, torch.from_numpy(np.rint(values * (255 / top)).astype(np.uint8))[:, None])
    assert len(found.unique()) > 150
    (note,) = notes
    assert f"read as {bits} bits, 0 to {top} become 0 to 255: {values.max()} is the largest value of all" in note
    assert to_images(values // 300)[2] == ()


def test_a_white_that_is_given_holds_for_the_array_and_what_is_above_it_is_clipped() -> None:
    values = np.array([0, 300, 4095, 5000, 65535], dtype=np.int32).reshape(1, 1, 5)
    found, _, notes, lost, reading = to_images(values, reading_of(white_level=4095))
    assert found.flatten().tolist() == [0, 19, 255, 255, 255]
    assert notes == ("pixels are int32: read with 4095 as white, 0 to 4095 become 0 to 255",)
    assert lost == {"pixel values above 4095, which became white": {0: 2}}
    assert reading == {"white_level": {"integer": 4095}}
    assert to_images(values[..., :2], reading_of(white_level=255))[0].flatten().tolist() == [0, 255]
    with pytest.raises(ValueError, match="pixel values from 0 to 65536, wanted 0 to 255 or 0 to 65535"):
        to_images(np.array([0, 65536]).reshape(1, 1, 2), reading_of(white_level=4095))


def test_a_half_precision_tensor_is_read_too() -> None:
    values = torch.tensor([0.0, 0.5, 1.0], dtype=torch.bfloat16, requires_grad=True).view(1, 1, 3)
    assert to_images(values)[0].flatten().tolist() == [0, 128, 255]


def test_one_rule_holds_for_the_whole_array() -> None:
    values = np.zeros((1100, 1, 2), dtype=np.float32)
    values[0] = 1
    values[1099] = 200
    found = to_images(values)[0]
    assert found[0].flatten().tolist() == [1, 1]


@pytest.mark.parametrize("values", [np.array([-1.0, 1.0]), np.array([0.0, 256.0]), np.array([0, 70_000])])
def test_values_without_8_bit_meaning_are_refused_with_their_range(values: Pixels) -> None:
    with pytest.raises(ValueError, match=rf"pixel values from {values[0]:g} to {values[1]:g}, wanted 0 to"):
        to_images(values.reshape(1, 1, 2))


def test_arrays_that_are_no_images_are_refused() -> None:
    for shape in ((5,), (5, 3), (1, 2, 3, 4, 5), (0, 3, 4), (5, 0, 4)):
        with pytest.raises(ValueError, match=r"data: got an array of shape .* wanted .*ArraySource"):
            to_images(np.zeros(shape, dtype=np.uint8))
    with pytest.raises(ValueError, match="data: got an array of <U1, wanted numbers"):
        to_images(np.full((2, 2, 2), "a"))


def test_images_with_nan_are_bad_and_do_not_set_the_range() -> None:
    values = np.random.default_rng(0).random((300, 4, 4)).astype(np.float32)
    values[7, 0, 0], values[299, 1, 1] = np.nan, np.inf
    found, bad, *_ = to_images(values)
    assert bad == {7: "NaN or infinite values", 299: "NaN or infinite values"}
    assert found[8].max() > 128
    assert not found[7].any()
    assert to_images(values * 200)[0][8].max() < 201
    values[:10] = np.nan
    with pytest.raises(BadDataError, match=r"11 of 300 samples .*sample 0 \(NaN"):
        source_of(to_images(values), 1, most_bad=MOST_BAD)
    with pytest.raises(ValueError, match="data: got NaN or infinite values in every image"):
        to_images(values[:5])


def test_channels_are_converted_from_any_to_any_that_has_a_meaning() -> None:
    colour = torch.tensor([[255, 0], [0, 255], [0, 0]], dtype=torch.uint8).view(3, 1, 2)
    assert with_channels(colour, 0) is colour
    assert with_channels(colour, 1).tolist() == [[[76, 150]]]
    assert with_channels(colour[None, :1], 3).tolist() == [[[[255, 0]]] * 3]
    assert with_channels(torch.cat([colour, colour[:1]]), 3).tolist() == colour.tolist()
    with pytest.raises(ValueError, match="channels: got 3, which images with 2 channels cannot be converted to"):
        with_channels(colour[:2], 3)


def test_which_bands_are_colour_is_not_guessed() -> None:
    bands = torch.zeros(2, 12, 4, 4, dtype=torch.uint8)
    for channels in (1, 3):
        with pytest.raises(
            ValueError, match=f"data: got images with 12 channels, wanted {channels}: which of them are"
        ):
            with_channels(bands, channels)
    assert with_channels(bands, 0) is bands


def test_values_above_white_are_counted_by_image() -> None:
    values = np.full((30, 8, 8), 0.5, dtype=np.float32)
    values[4, 0, :3] = 1.2
    values[9, 0, 0] = -0.1
    found = to_images(values)
    assert found.lost == {
        "pixel values above 1, which became white": {4: 3},
        "pixel values below 0, which became black": {9: 1},
    }
    assert found.images[4].unique().tolist() == [128, 255]
    assert found.images[9].unique().tolist() == [0, 128]
    assert found.reading == {"white_level": {"floating": 1}}


def test_an_image_that_would_be_all_white_is_bad_and_many_of_them_are_refused() -> None:
    values = np.full((300, 1, 4, 4), 0.5, dtype=np.float32)
    of_run = reading_of({"white_level": {"floating": 1}}, channels=1)
    values[7] = 200
    found = to_images(values, of_run)
    assert found.bad.keys() == {7}
    assert found.bad[7].startswith("pixel values from 200 to 200, wanted 0 to 1")
    assert not found.images[7].any()
    assert found.lost == {}
    values[8:20] = 200
    with pytest.raises(
        BadDataError, match=r"13 of 300 samples .*sample 7 \(pixel values from 200 to 200, wanted 0 to 1 "
    ):
        source_of(to_images(values, of_run), 1, most_bad=MOST_BAD)
    assert len(source_of(to_images(values, of_run), 1, most_bad=ANY).bad) == 13
    with pytest.raises(ValueError, match=r"data: got pixel values from 200 to 200, wanted 0 to 1 .*in 12 of 12 images"):
        to_images(values[8:20], of_run)


def test_kinds_of_numbers_that_a_run_never_saw_are_not_told_either() -> None:
    of_bytes = reading_of({"white_level": {}}, channels=1)
    assert to_images(np.array([[[0, 16, 255]]]), of_bytes).images.flatten().tolist() == [0, 16, 255]
    assert to_images(np.array([[[0, 0.5, 1.0]]]), of_bytes).images.flatten().tolist() == [0, 128, 255]
    for values in (np.full((2, 4, 4), 4000, np.uint16), np.full((2, 4, 4), 200.0)):
        with pytest.raises(ValueError, match=r"data: got pixel values .*; --white-level .* in 2 of 2 images"):
            to_images(values, of_bytes)
    of_deep = reading_of({"white_level": {"integer": 4095}}, channels=1)
    assert to_images(np.array([[[0, 16, 255]]], dtype=np.uint8), of_deep).images.flatten().tolist() == [0, 16, 255]


def test_bytes_have_another_white_only_where_somebody_says_so() -> None:
    values = np.array([[[0, 1, 16]]], dtype=np.uint8)
    found = to_images(values, reading_of(white_level=16))
    assert found.images.flatten().tolist() == [0, 16, 255]
    assert found.reading == {"white_level": {"bytes": 16}}
    assert to_images(values, reading_of(found.reading)).images.flatten().tolist() == [0, 16, 255]


def test_a_run_that_does_not_say_how_it_read_its_data_has_it_told_anew_and_says_so() -> None:
    old = reading_of({"image_shape": [1, 4, 4]}, channels=1)
    assert "recipe.json of the run does not say" in to_images(np.full((2, 4, 4), 4000, np.uint16), old).notes[-1]
    assert to_images(np.full((2, 4, 4), 40, np.uint8), old).notes == ()
