"""What segmentation takes from images: networks, windows, and masks; the one file here that knows of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from barlow.applications.segmentation.settings import Normalise, SegmentSettings
from barlow.data.bad_samples import ANY
from barlow.images.data.folder import index_folder
from barlow.images.data.load import load_source
from barlow.images.data.masks import (
    IGNORED as IGNORED,
    MaskedSource as MaskedSource,
    MaskTable as MaskTable,
    Pairs as Pairs,
    check_sizes,
    pair_masks,
    parse_value,
    read_table,
    tell_table,
)
from barlow.images.networks.segmenter import Segmenter as Segmenter
from barlow.images.views.geometry import as_unit_float
from barlow.images.views.pipeline import ImagePipeline
from barlow.images.views.windows import (
    WindowPipeline as WindowPipeline,
    mask_with_short_side as mask_with_short_side,
    stretched,
    with_short_side,
)
from barlow.seams import Facts, Source


def open_pairs(data: Path, settings: SegmentSettings) -> Pairs:
    """Pair the images and masks of a folder, and see that they have the same sizes."""
    if not data.is_dir():
        raise ValueError(f"data: there is no folder {str(data)!r}, wanted one with images/ and masks/ in it")
    pairs = pair_masks(data, settings.masks)
    check_sizes(pairs)
    return pairs


def table_of(pairs: Pairs, settings: SegmentSettings, table: Path | None) -> MaskTable:
    """Tell what the values of all masks mean, by a table in a file where there is one."""
    names = None if table is None else read_table(table)
    unlabelled = tuple(parse_value(word) for word in settings.unlabelled)
    return tell_table([pairs.root / mask for mask in pairs.masks], table=names, unlabelled=unlabelled)


def open_masked(pairs: Pairs, positions: Sequence[int], table: MaskTable, facts: Facts) -> MaskedSource:
    """Open some images of a folder at full size, read as those of a run were, with their masks."""
    paths = [pairs.root / pairs.images[place] for place in positions]
    masks = [pairs.root / pairs.masks[place] for place in positions]
    return MaskedSource(open_images(paths, facts), masks, table)


def open_images(paths: Sequence[Path], facts: Facts) -> Source:
    """Open images at full size, in the channels and with the white of a run."""
    asked: dict[str, Any] = {"channels": in_channels(facts), "labels": "none", "min_samples": 1, "most_bad": ANY}
    return load_source(list(paths), decode_size=0, facts=facts, **asked)


def images_in(folder: Path) -> list[Path]:
    """Return all images under a folder, masks beside them left out."""
    index = index_folder(folder)
    return [index.root / path for path in index.paths]


def in_channels(facts: Facts) -> int:
    """Return the channels of the images of a run; ValueError where they were no images."""
    if "image_shape" not in facts:
        raise ValueError("run: its data are no images by name or path, wanted a run of `barlow pretrain` on pictures")
    return int(facts["image_shape"][0])


@dataclass(frozen=True)
class Seen:
    """How an image is seen: shrunk, its contrast stretched by itself, mean and deviation taken out.

    Attributes:
        short_side: in pixels; 0: as it is.
        normalise: whether contrast is stretched ("image").
        mean, std: of each channel, of images in [0, 1] after that.
    """

    short_side: int
    normalise: Normalise
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepared(self, image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
        """Return an image in [0, 1], before windows are cut out."""
        small = with_short_side(image, self.short_side)
        return stretched(small) if self.normalise == "image" else as_unit_float(small)

    def input(self, image: UInt8[Tensor, "c h w"]) -> Float[Tensor, "1 c h2 w2"]:
        """Return what the network sees of a whole image."""
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return ((self.prepared(image) - mean) / std)[None]

    def windows(self, size: int) -> WindowPipeline:
        """Return the windows of fine-tuning: any place, size, way up and side, a little change of light and noise."""
        light: dict[str, Any] = {"jitter": 0.8, "brightness": 0.2, "contrast": 0.2}
        turned: dict[str, Any] = {"flip": 0.5, "vertical_flip": 0.5, "quarter_turns": 0.75}
        return WindowPipeline(
            ImagePipeline(size=size, mean=self.mean, std=self.std, interpolation="bilinear", **turned, **light)
        )


def statistics_of(images: Sequence[Float[Tensor, "c h w"]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of each channel over all pixels of prepared images."""
    count = sum(image[0].numel() for image in images)
    mean = torch.stack([image.double().sum((1, 2)) for image in images]).sum(0) / count
    square = torch.stack([image.double().square().sum((1, 2)) for image in images]).sum(0) / count
    std = (square - mean**2).clamp(min=1e-6).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def build_segmenter(backbone: nn.Module, num_classes: int, facts: Facts, *, seed: int) -> Segmenter:
    """Put a decoder drawn from `seed` behind a backbone."""
    torch.manual_seed(seed)
    return Segmenter(backbone, num_classes, in_channels=in_channels(facts))


def enlarged(scores: Float[Tensor, "1 k h w"], size: Sequence[int]) -> UInt8[Tensor, "h2 w2"]:
    """Return the likeliest class of every pixel of the image at its own size, class by class to save memory."""
    if scores.shape[1] == 1:
        return (_at_size(scores[:, 0], size) > 0).to(torch.uint8)
    best, found = _at_size(scores[:, 0], size), torch.zeros(tuple(size), dtype=torch.uint8)
    for number in range(1, scores.shape[1]):
        score = _at_size(scores[:, number], size)
        found[score > best] = number
        best = torch.maximum(best, score)
    return found


def _at_size(scores: Float[Tensor, "1 h w"], size: Sequence[int]) -> Float[Tensor, "h2 w2"]:
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores[0]
    return functional.interpolate(scores[None], size=list(size), mode="bilinear", align_corners=False)[0, 0]
