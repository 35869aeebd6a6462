"""One image pipeline as numbers: `ImagePipeline` draws what happens to each sample and makes it happen.

The order of the transforms is fixed: crop (with its flip), vertical flip, quarter turns, affine, jitter, gray, blur,
solarize, contrast, noise, normalisation. Every transform draws from a generator of its own, seeded from the one that
is passed in, so no transform's draws depend on another transform or on whether that is used at all.

A transform that happens with probability p keeps its coin, uniform in [0, 1), among its parameters and
happens where coin < p. So the parameters of all transforms are independent of each other, and replacing those
of one transform by another draw gives a view from the same distribution.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor

from barlow.images.views import colour, geometry, strengths
from barlow.images.views.geometry import Fit, Images, Interpolation
from barlow.seams import Params, to_device

_STREAMS = ("variant", "crop", "flip", "affine", "jitter", "gray", "blur", "solarize", "contrast", "noise")
# New transforms go to the end of these, whose seeds follow from the last one: the generator that is passed in moves on
# as far as it always did, and so the views of old runs stay what they are.
_LATER_STREAMS = ("vertical_flip", "quarter_turns")

# Float32 pixels of a view that one thread works on at once: a few times this should stay in its cache.
_CHUNK_BYTES = int(2.5 * 2**20)

# The same for a GPU: enough to keep it busy, little beside its memory, of which a few times this is in use at once.
_GPU_CHUNK_BYTES = 32 * 2**20

_BY_COIN = ("jitter", "gray", "blur", "solarize")


@dataclass(frozen=True)
class ImagePipeline:
    """A distribution over views of images: a `View`.

    Attributes:
        size: S, side of the view in pixels.
        mean: of each channel, subtracted at the end (images are in [0, 1]); its length is the channel count.
        std: of each channel, divided by.
        crop_scale: smallest and largest area of the crop; None: the largest central square, or with `fit` all, always.
        crop_ratio: smallest and largest width / height of the crop.
        interpolation: filter of the resize.
        fit: "square", or "whole": crops and what is seen without one are squeezed as if the image had been squeezed to
            a square before, so that all of an image can be seen; `crop_ratio` is then in units of the image's own.
        flip: probability of a left-right flip.
        rotation: largest angle, degrees.
        translation: largest shift, fraction of the side.
        zoom: smallest and largest magnification.
        shear: largest shear, degrees.
        jitter: probability of the colour jitter.
        saturation: its strength; without effect unless there are three channels.
        hue: its strength in turns; only for three channels.
        gray: probability of dropping the colours; only for three channels.
        blur: probability of a Gaussian blur; several: see `solarize`.
        blur_sigma: smallest and largest standard deviation in pixels.
        solarize: probability of inverting what is brighter than 128 of 255. Where it and `blur` have several
            entries, each sample first draws which of them (the "variant") holds for it, all equally likely.
        gain: largest departure of the contrast stretch about mid-grey from 1.
        shift: largest change of the grey level.
        noise: largest standard deviation of white noise.
        vertical_flip: probability of an up-down flip.
        quarter_turns: probability of a turn by one, two or three quarters, each equally likely; 3/4 makes all four ways
            to hold an image equally likely, as for what is seen from above or through a microscope.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bicubic"
    fit: Fit = "square"
    flip: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    gray: float = 0.0
    blur: tuple[float, ...] = (0.0,)
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: tuple[float, ...] = (0.0,)
    gain: float = 0.0
    shift: float = 0.0
    noise: float = 0.0
    vertical_flip: float = 0.0
    quarter_turns: float = 0.0

    parts: ClassVar[Mapping[str, Mapping[str, tuple[str, float]]]] = strengths.PARTS
    joined: ClassVar[tuple[str, ...]] = strengths.JOINED

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: got {self.size}, wanted at least 1 pixel")
        for first, second in (("mean", "std"), ("blur", "solarize")):
            numbers = len(getattr(self, first)), len(getattr(self, second))
            if numbers[0] != numbers[1]:
                raise ValueError(f"{first}, {second}: got {numbers[0]} and {numbers[1]} entries, wanted equally many")
        if len(self.mean) != 3 and (self.hue or self.gray):
            raise ValueError(f"hue, gray: got {self.hue} and {self.gray}, wanted 0 for {len(self.mean)} channels")

    def scaled(self, transform: str, magnitude: float) -> "ImagePipeline":
        """Return the pipeline with one transform weaker or stronger, see `strengths.scaled`."""
        return strengths.scaled(self, transform, magnitude)

    def drawn_by(self, transform: str) -> Mapping[str, Any] | None:
        """Return the fields that a transform is drawn by, None for one that no pipeline has."""
        return strengths.drawn_by(self, transform)

    def sample(self, batch: Images, generator: torch.Generator) -> Params:
        """Draw the parameters of one view of each sample, by transform; looks only at their number and sizes.

        Generator and parameters are on the CPU, whatever the batch is on: so a seed means the same views on every
        device, and `apply` knows without asking a GPU which samples a coin has chosen. Noise too, for that reason: the
        pipelines that have some are those of small grey images, where it is a megabyte a view.
        """
        heights, widths = geometry.image_sizes(batch)
        n = len(heights)
        stream = _streams(generator)

        def coin(name: str) -> dict[str, Tensor]:
            return {"coin": torch.rand(n, generator=stream[name])}

        drawn: dict[str, dict[str, Tensor]] = {}
        if len(self.blur) > 1:
            drawn["variant"] = {"index": torch.randint(len(self.blur), (n,), generator=stream["variant"])}
        if self.crop_scale is not None:
            drawn["crop"] = geometry.sample_crop(
                heights, widths, self.crop_scale, self.crop_ratio, stream["crop"], self.fit
            )
        if self.flip:
            drawn["flip"] = coin("flip")
        if self.rotation or self.translation or self.shear or self.zoom != (1.0, 1.0):
            drawn["affine"] = geometry.sample_affine(
                n, self.rotation, self.translation, self.zoom, self.shear, stream["affine"]
            )
        if self.jitter:
            strengths = (self.brightness, self.contrast, self.saturation, self.hue)
            drawn["jitter"] = coin("jitter") | colour.sample_jitter(n, *strengths, stream["jitter"])
        if self.gray:
            drawn["gray"] = coin("gray")
        if any(self.blur):
            low, high = self.blur_sigma
            sigma = low + (high - low) * torch.rand(n, generator=stream["blur"])
            drawn["blur"] = coin("blur") | {"sigma": sigma}
        if any(self.solarize):
            drawn["solarize"] = coin("solarize")
        if self.gain or self.shift:
            drawn["contrast"] = colour.sample_contrast(n, self.gain, self.shift, stream["contrast"])
        if self.noise:
            shape = (len(self.mean), self.size, self.size)
            drawn["noise"] = colour.sample_noise(n, self.noise, shape, stream["noise"])
        if self.vertical_flip:
            drawn["vertical_flip"] = coin("vertical_flip")
        if self.quarter_turns:
            turns = torch.randint(1, 4, (n,), generator=stream["quarter_turns"])
            drawn["quarter_turns"] = coin("quarter_turns") | {"turns": turns}
        return drawn

    def apply(self, batch: Images, params: Params) -> Float[Tensor, "n c s s"]:
        """Make the views that `params` describes: float32, normalised, on the device of the batch.

        The batch is uint8, or floating in [0, 1]. `params` are as `sample` returns them, whole, or with transforms
        replaced or left out, best on the CPU. A transform that is not in `params` does not happen; without a crop it is
        the largest central square that is resized, or with `fit` "whole" the image.
        """
        _check(batch, len(self.mean))
        device = geometry.device_of(batch)
        views = torch.empty(len(batch), len(self.mean), self.size, self.size, dtype=torch.float32, device=device)

        def make(rows: slice) -> None:
            part = {name: {k: t[rows].cpu() for k, t in drawn.items()} for name, drawn in params.items()}
            # Autocast would round the matrices of crop and blur to half precision.
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                colour.normalise(self._transform(batch[rows], part), self.mean, self.std, out=views[rows])

        if device.type == "cpu":
            in_chunks(make, len(batch), max(1, _CHUNK_BYTES // (4 * len(self.mean) * self.size**2)))
            return views
        largest = max([self.size**2, *([batch.shape[-2] * batch.shape[-1]] if isinstance(batch, Tensor) else [])])
        for rows in chunks_of(len(batch), max(1, _GPU_CHUNK_BYTES // (4 * len(self.mean) * largest))):
            make(rows)
        return views

    def _transform(self, batch: Images, params: Params) -> Float[Tensor, "n c s s"]:
        """Apply everything but the normalisation, in place where it goes.

        What the coins have chosen is settled on the CPU, where `params` are, and goes to the device in one copy.
        """
        x = self._turned(self._crop(batch, params), params)
        chosen = {name: self._happens(params, name).nonzero()[:, 0] for name in _BY_COIN if name in params}
        turns = colour.turns_of(chosen["jitter"], params["jitter"]) if "jitter" in params else None
        if "blur" in params:
            chosen["sigma"] = params["blur"]["sigma"].index_select(0, chosen["blur"])
        whole = {name: params[name] for name in ("affine", "contrast", "noise") if name in params}
        whole, chosen, turns = to_device((whole, chosen, turns), x.device)
        if "affine" in whole:
            x = geometry.affine(x, **whole["affine"])
        if turns is not None:
            colour.jitter(x, turns)
        if "gray" in chosen:
            rows = chosen["gray"]
            x.index_copy_(0, rows, colour.luminance(x.index_select(0, rows)).expand(-1, 3, -1, -1))
        if "blur" in chosen:
            rows = chosen["blur"]
            x.index_copy_(0, rows, colour.blur(x.index_select(0, rows), chosen["sigma"]))
        if "solarize" in chosen:
            rows = chosen["solarize"]
            x.index_copy_(0, rows, colour.solarize(x.index_select(0, rows)))
        if "contrast" in whole:
            colour.contrast(x, **whole["contrast"])
        if "noise" in whole:
            x.add_(whole["noise"]["noise"]).clamp_(0, 1)
        return x

    def _crop(self, batch: Images, params: Params) -> Float[Tensor, "n c s s"]:
        """Cut out, resize and flip, or only convert where there is nothing else to do."""
        if (
            isinstance(batch, Tensor)
            and batch.shape[-2:] == (self.size, self.size)
            and not {"crop", "flip"} & set(params)
        ):
            return geometry.as_unit_float(batch)
        flipped = self._happens(params, "flip") if "flip" in params else torch.zeros(len(batch), dtype=torch.bool)
        box = params.get("crop")
        if box is None:
            box = geometry.plain_box(*geometry.image_sizes(batch), self.fit)
        return geometry.crop_and_resize(batch, box, flipped, self.size, self.interpolation)

    def _turned(self, x: Shaped[Tensor, "n c s s"], params: Params) -> Shaped[Tensor, "n c s s"]:
        """Flip up and down, then turn; moves pixels and changes none."""
        if "vertical_flip" in params:
            x = geometry.flip_vertically(x, self._happens(params, "vertical_flip"))
        if "quarter_turns" in params:
            turns = params["quarter_turns"]["turns"] * self._happens(params, "quarter_turns")
            x = geometry.quarter_turns(x, turns)
        return x

    def apply_to_masks(self, masks: Images, params: Params, *, outside: int) -> Integer[Tensor, "n s s"]:
        """Warp masks as `apply` warps their images, by the same params: whole numbers come out, each of a pixel.

        What moves pixels is done (crop, flips, turns, affine), with the nearest pixel for a filter; what changes
        colours is not.

        Args:
            masks: (N, H, W), or one (H_i, W_i) per image, of the sizes of the images.
            params: as `sample` returned them for the images.
            outside: number where the view looks beyond the image, such as that of pixels to ignore.

        Returns:
            (N, S, S) of the number format of the masks.
        """
        n = len(masks)
        sizes = geometry.image_sizes([mask[None] for mask in masks])
        box = params.get("crop") or geometry.plain_box(*sizes, self.fit)
        flipped = self._happens(params, "flip") if "flip" in params else torch.zeros(n, dtype=torch.bool)
        x = geometry.crop_nearest(masks, box, flipped, self.size)
        x = self._turned(x[:, None], params)[:, 0]
        if "affine" in params:
            x = geometry.affine_nearest(x, **params["affine"], outside=outside)
        return x

    def _happens(self, params: Params, name: str) -> Bool[Tensor, " n"]:
        """Return whether transform `name` happens to each sample: coin < p, p that of the sample's variant."""
        probability = getattr(self, name)
        several = isinstance(probability, tuple) and len(probability) > 1
        limit = torch.tensor(probability)
        happens: Tensor = params[name]["coin"] < (limit[params["variant"]["index"]] if several else limit)
        return happens


def _streams(generator: torch.Generator) -> dict[str, torch.Generator]:
    """Return a generator of its own for every transform."""
    seeds = torch.randint(2**63 - 1, (len(_STREAMS),), generator=generator).tolist()
    last = torch.Generator().manual_seed(seeds[-1] ^ 1)
    seeds += torch.randint(2**63 - 1, (len(_LATER_STREAMS),), generator=last).tolist()
    names = (*_STREAMS, *_LATER_STREAMS)
    return {name: torch.Generator().manual_seed(seed) for name, seed in zip(names, seeds, strict=True)}


def _check(batch: Images, channels: int) -> None:
    for image in [batch] if isinstance(batch, Tensor) else batch:
        if image.shape[-3] != channels:
            raise ValueError(
                f"batch: got images with {image.shape[-3]} channels, wanted {channels} as the pipeline's mean has"
            )
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise ValueError(f"batch: got {image.dtype}, wanted uint8, or floats in [0, 1]")


def chunks_of(num_samples: int, largest: int) -> list[slice]:
    """Return slices of about equal length, of at most `largest` samples, that together are all of them."""
    length = math.ceil(num_samples / max(1, math.ceil(num_samples / largest)))
    return [slice(start, start + length) for start in range(0, num_samples, max(1, length))]


def in_chunks(work: Callable[[slice], None], num_samples: int, largest: int) -> None:
    """Call `work` on slices of at most `largest` samples, one thread to a slice, as many at once as torch has threads.

    Torch on its own splits each operation over its threads and waits for the slowest of them, a hundred times and
    more per view. With a thread to a chunk that stays in the caches of a CPU, they wait for each other once per batch:
    several times faster on a machine that is busy with something else. It also makes a view independent of the number
    of threads.
    """
    if num_samples == 0:
        return
    chunks = chunks_of(num_samples, largest)
    allowed, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
    if allowed == 1:
        for chunk in chunks:
            work(chunk)
        return

    def alone(chunk: slice) -> None:
        # Holds for this thread, but what threads born later start with is set too: hence the way back.
        torch.set_num_threads(1)
        try:
            with torch.inference_mode(inference):  # a new thread does not inherit it
                work(chunk)
        finally:
            torch.set_num_threads(allowed)

    with ThreadPoolExecutor(min(allowed, len(chunks))) as threads:
        list(threads.map(alone, chunks))
