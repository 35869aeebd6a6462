from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from barlow.images.data import decode
from barlow.images.data.decode import decoded_size, image_to_tensor, read_image
from barlow.images.data.white_level import WhiteLevels
from tests.images.data.making import Pixels, noise, png

LOSSLESS = ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp"]


def save(pixels: Pixels, path: Path, mode: str | None = None, **options: Any) -> str:
    image = Image.fromarray(pixels)
    if path.suffix == ".webp":
        options = {"lossless": True, "exact": True, **options}  # exact: colours under full transparency too
    (image if mode is None else image.convert(mode)).save(path, **options)
    return str(path)


def planes(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_colour_comes_back_pixel_for_pixel(tmp_path: Path, name: str) -> None:
    pixels = noise(9, 11, 3)
    assert torch.equal(read_image(save(pixels, tmp_path / name), 3), planes(pixels))


@pytest.mark.parametrize("name", [*LOSSLESS, "a.gif", "a.pgm"])
def test_lossless_grey_comes_back_as_one_channel_or_three_equal_ones(tmp_path: Path, name: str) -> None:
    pixels = noise(9, 11)
    path = save(pixels, tmp_path / name)
    assert torch.equal(read_image(path, 1), torch.from_numpy(pixels)[None])
    assert torch.equal(read_image(path, 3), torch.from_numpy(pixels).expand(3, -1, -1))


def test_jpeg_comes_back_close_to_what_was_written(tmp_path: Path) -> None:
    ramp = np.stack([np.tile(np.linspace(0, 255, 64), (48, 1))] * 3, axis=-1).astype(np.uint8)
    decoded = read_image(save(ramp, tmp_path / "a.jpg", quality=95), 3)
    assert decoded.shape == (3, 48, 64)
    assert (decoded.int() - planes(ramp).int()).abs().max() <= 4


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (3, {}),
        (3, {"subsampling": 0}),
        (3, {"subsampling": 1, "progressive": True}),
        (3, {"subsampling": 2, "quality": 20}),
        (1, {}),
    ],
)
def test_the_fast_decoder_of_jpeg_gives_the_pixels_of_pillow(
    tmp_path: Path, channels: int, options: dict[str, Any]
) -> None:
    path = save(noise(*((37, 51, 3) if channels == 3 else (37, 51))), tmp_path / "a.jpg", **options)
    pytest.importorskip("simplejpeg", reason="the extra [jpeg] is not installed")
    found = decode._decoded_jpeg(decode._jpeg_bytes(path), channels, 448)
    assert found is not None
    assert torch.equal(found, read_image(path, channels))
    with Image.open(path) as image:
        assert torch.equal(found, image_to_tensor(image, channels))
    assert found.is_contiguous()


def test_a_jpeg_of_other_colours_of_another_size_or_to_be_turned_goes_through_pillow(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    colour, grey = noise(60, 40, 3), noise(60, 40)
    cases: list[tuple[Any, int, int, dict[str, Any]]] = [
        (colour, 1, 448, {}),
        (grey, 3, 448, {}),
        (colour, 3, 20, {}),
        (colour, 3, 448, {"exif": turned}),
        (colour, 3, 448, {"xmp": b"http://ns.adobe.com/xap/1.0/"}),
        (colour, 3, 448, {"save_all": True, "append_images": [Image.fromarray(colour)], "format": "MPO"}),
    ]
    for pixels, channels, decode_size, options in cases:
        path = save(pixels, tmp_path / "a.jpg", **options)
        assert decode._decoded_jpeg(decode._jpeg_bytes(path), channels, decode_size) is None
        if "exif" in options:
            assert read_image(path, 3).shape == (3, 40, 60)


def test_what_pillow_says_of_a_broken_jpeg_is_what_is_said(tmp_path: Path) -> None:
    path = Path(save(noise(60, 40, 3), tmp_path / "a.jpg"))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(OSError, match="truncated"):
        read_image(str(path), 3)


def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    pixels = noise(9, 11, 3)
    save(pixels, tmp_path / "a.png")
    wrong = (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert torch.equal(read_image(str(wrong), 3), planes(pixels))


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for name in ("a.gif", "a.webp", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        red = read_image(str(tmp_path / name), 3)[:, 2, 3].tolist()
        assert red[0] > 245
        assert max(red[1:]) < 10


def test_palette_images_become_their_colours(tmp_path: Path) -> None:
    flat = np.repeat(np.array([[[200, 10, 30], [0, 250, 90]]], dtype=np.uint8), 4, axis=0)
    for name in ("a.png", "a.gif"):
        image = Image.fromarray(flat).quantize(4)
        assert image.mode == "P"
        image.save(tmp_path / name)
        assert torch.equal(read_image(str(tmp_path / name), 3), planes(flat))


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    bits = np.array([[0, 255, 0], [255, 255, 0]], dtype=np.uint8)
    path = save(bits, tmp_path / "a.png", mode="1")
    with Image.open(path) as image:
        assert image.mode == "1"
    assert read_image(path, 1)[0].tolist() == bits.tolist()


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, name: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    cyan.save(tmp_path / name)
    colour = read_image(str(tmp_path / name), 3)[:, 8, 8].tolist()
    assert colour[0] < 5
    assert min(colour[1:]) > 250


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_transparent_pixels_are_laid_on_white(tmp_path: Path, name: str) -> None:
    pixels = np.zeros((2, 2, 4), dtype=np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    pixels[1, 1] = (0, 0, 0, 128)
    decoded = read_image(save(pixels, tmp_path / name), 3)
    assert decoded[:, 0, 0].tolist() == [10, 20, 30]
    assert decoded[:, 0, 1].tolist() == [255, 255, 255]
    assert decoded[:, 1, 1].tolist() == [127, 127, 127]


def test_grey_and_palette_with_transparency_are_laid_on_white_too(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[[40, 255], [40, 0]]], dtype=np.uint8))
    assert grey.mode == "LA"
    grey.save(tmp_path / "la.png")
    assert read_image(str(tmp_path / "la.png"), 1)[0].tolist() == [[40, 255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 7, 7, 7])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png", transparency=1)
    palette.save(tmp_path / "p.gif", transparency=1)
    Image.new("L", (2, 1), 33).save(tmp_path / "key.png", transparency=33)
    assert read_image(str(tmp_path / "p.png"), 3)[0].tolist() == [[9, 255]]
    assert read_image(str(tmp_path / "p.gif"), 3)[0].tolist() == [[9, 255]]
    assert read_image(str(tmp_path / "key.png"), 3)[0].tolist() == [[255, 255]]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_deep_grey_is_scaled_to_the_white_that_is_given_and_clipped_above(tmp_path: Path, name: str) -> None:
    deep = np.array([[0, 16, 17, 200, 2048], [4095, 4000, 4096, 65535, 1000]], dtype=np.uint16)
    decoded = read_image(save(deep, tmp_path / name), 1, white=WhiteLevels(integer=4095))
    assert decoded[0].tolist() == np.rint(np.minimum(deep / 4095, 1) * 255).astype(int).tolist()
    assert read_image(str(tmp_path / name), 1, white=WhiteLevels(integer=255))[0, 0].tolist() == [0, 16, 17, 200, 255]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_sixteen_bit_grey_is_scaled_over_its_whole_range(tmp_path: Path, name: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32896], [65535, 65407, 65406, 514, 1000]], dtype=np.uint16)
    decoded = read_image(save(deep, tmp_path / name), 1)
    assert decoded[0].tolist() == np.rint(deep / 257).astype(int).tolist()
    assert torch.equal(read_image(str(tmp_path / name), 3), decoded.expand(3, -1, -1))


def test_big_endian_sixteen_bit_tiff_is_read_too(tmp_path: Path) -> None:
    deep = np.array([[0, 257], [65535, 32896]], dtype=">u2")
    Image.frombytes("I;16B", (2, 2), deep.tobytes()).save(tmp_path / "a.tif")
    assert read_image(str(tmp_path / "a.tif"), 1)[0].tolist() == [[0, 1], [255, 128]]


def test_sixteen_bit_colour_keeps_its_high_byte(tmp_path: Path) -> None:
    deep = np.array([[[0, 257, 65535], [32896, 514, 4112]]], dtype=">u2")
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, b"\0" + deep.tobytes()))
    assert read_image(str(tmp_path / "a.png"), 3).permute(1, 2, 0).tolist() == [[[0, 1, 255], [128, 2, 16]]]


def test_fractions_in_tiff_are_scaled_and_those_without_8_bit_meaning_refused(tmp_path: Path) -> None:
    for top in (1.0, 255.0):
        path = save(np.array([[0, 0.5, 1]], dtype=np.float32) * top, tmp_path / "a.tif")
        assert read_image(path, 1, white=WhiteLevels(floating=top))[0].tolist() == [[0, 128, 255]]
    for wrong in (-1.0, 300.0, float("nan")):
        path = save(np.array([[0, wrong]], dtype=np.float32), tmp_path / "a.tif")
        with pytest.raises(ValueError, match=r"pixel values from .* wanted 0 to"):
            read_image(path, 1)


def stored_for(orientation: int, upright: Pixels) -> Pixels:
    """Return what a camera stores, by the table of the EXIF standard: sides that row 0 and column 0 show."""
    row_0, column_0 = [
        ("top", "left"),
        ("top", "right"),
        ("bottom", "right"),
        ("bottom", "left"),
        ("left", "top"),
        ("right", "top"),
        ("right", "bottom"),
        ("left", "bottom"),
    ][orientation - 1]
    stored = upright if row_0 in ("top", "bottom") else upright.swapaxes(0, 1)
    stored = stored[::-1] if row_0 in ("bottom", "right") else stored
    stored = stored[:, ::-1] if column_0 in ("bottom", "right") else stored
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_rotation_in_the_metadata_is_undone(tmp_path: Path, orientation: int, name: str) -> None:
    upright = noise(5, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(stored_for(orientation, upright), tmp_path / name, exif=exif)
    assert torch.equal(read_image(path, 3), planes(upright))


def test_rotated_jpeg_is_capped_by_its_short_side_and_stands_upright(tmp_path: Path) -> None:
    upright = np.zeros((400, 200, 3), dtype=np.uint8)
    upright[:200] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(stored_for(6, upright), tmp_path / "a.jpg", exif=exif)
    decoded = read_image(path, 3, 50)
    assert decoded.shape == (3, 100, 50)
    assert decoded[:, :48].min() > 250
    assert decoded[:, 52:].max() < 5


@pytest.mark.parametrize("exif", [b"Exif\0\0no such header", b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 9])
def test_metadata_that_cannot_be_read_do_not_spoil_the_image(tmp_path: Path, exif: bytes) -> None:
    pixels = noise(9, 11, 3)
    assert torch.equal(read_image(save(pixels, tmp_path / "a.png", exif=exif), 3), planes(pixels))


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {}), ("a.tif", {"compression": "tiff_lzw"})])
def test_a_damaged_image_is_broken_even_where_it_is_rotated(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = Path(save(noise(64, 64, 3), tmp_path / name, exif=exif, **options))
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] if name == "a.jpg" else whole[:middle] + b"\xff" * 400 + whole[middle + 400 :])
    with pytest.raises(OSError, match=r"truncated|decoder error"):
        read_image(str(path), 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_jpeg_decoded_small_looks_like_the_whole_one_shrunk(tmp_path: Path, channels: int) -> None:
    smooth = np.asarray(Image.fromarray(noise(6, 8, 3)).resize((1600, 1200), Image.Resampling.BICUBIC))
    path = save(smooth, tmp_path / "a.jpg", quality=95)
    small = read_image(path, channels, 100)
    whole = read_image(path, channels, 0)
    assert small.shape == (channels, 100, 133)
    assert whole.shape == (channels, 1200, 1600)
    shrunk = torch.nn.functional.interpolate(whole[None].float(), small.shape[1:], mode="area")[0]
    assert (shrunk - small).abs().mean() < 1.5


def test_small_images_are_never_enlarged() -> None:
    assert decoded_size((30, 20), 40) == (30, 20)
    assert decoded_size((300, 200), 40) == (60, 40)
    assert decoded_size((200, 300), 40) == (40, 60)
    assert decoded_size((300, 200), 0) == (300, 200)


def test_broken_files_raise_with_a_reason(tmp_path: Path) -> None:
    whole = Path(save(noise(64, 64, 3), tmp_path / "a.jpg")).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="truncated"):
        read_image(str(tmp_path / "cut.jpg"), 3)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        read_image(str(tmp_path / "empty.jpg"), 3)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match="no image of a known format"):
        read_image(str(tmp_path / "text.jpg"), 3)
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000, 8, 0, b"\0" * 100))
    with pytest.raises(ValueError, match=r"900000000 pixels, wanted at most .*: Pillow decodes no larger ones"):
        read_image(str(tmp_path / "bomb.png"), 3)
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(IsADirectoryError):
        read_image(str(tmp_path / "folder.jpg"), 3)


def test_formats_that_start_other_programs_are_not_opened(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    with pytest.raises(ValueError, match="no image of a known format"):
        read_image(str(tmp_path / "a.eps"), 3)


@pytest.mark.parametrize(
    "mode",
    ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_pillow_gets_the_channels_asked_for(mode: str, channels: int) -> None:
    image = image_to_tensor(Image.new(mode, (4, 3)), channels)
    assert image.shape == (channels, 3, 4)
    assert image.dtype == torch.uint8
