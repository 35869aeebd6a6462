"""How a view looks: colour jitter, blur, solarisation, contrast, noise and normalisation, per sample.

The formulas are torchvision's for float images in [0, 1]; every factor is a tensor with one entry per sample.
They are arranged so that a pass over memory does as much as possible, and without masks, comparisons and
remainders (on a CPU each of those costs as much as ten additions).
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from barlow.seams import to_device

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, the digits that torchvision uses
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)
_BLUR_RADIUS = 11
_BLUR_BLOCK = 32


def luminance(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return a new tensor 0.2989 R + 0.587 G + 0.114 B; the mean over channels when there are not three."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.chunk(3, dim=1)
    return red.mul(_LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def sample_jitter(
    num_samples: int,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Draw, per sample, factors in [max(0, 1 - strength), 1 + strength], a hue shift, and an order.

    Brightness, contrast, saturation are (N,) factors; hue (N,) turns of the colour circle, absent if its strength is 0;
    order (N, 4) which of brightness 0, contrast 1, saturation 2, hue 3 comes first, second, ...

    Source: `torchvision.transforms.v2.ColorJitter`.
    """
    uniform = torch.rand(8, num_samples, generator=generator)
    drawn = {"order": uniform[4:].argsort(0).T.contiguous()}
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for row, (name, strength) in enumerate(strengths.items()):
        low = max(0.0, 1 - strength)
        drawn[name] = low + (1 + strength - low) * uniform[row]
    if hue > 0:
        drawn["hue"] = hue * (2 * uniform[3] - 1)
    return drawn


class Turns(NamedTuple):
    """A jitter of m samples as `jitter` needs it: sorted by when their hue comes.

    Attributes:
        rows: (m,) which samples.
        linear: (3, m) which of brightness, contrast and saturation comes first, second, third.
        factors: (3, m) by how much.
        hue: (m,) turns of the colour circle, None without.
        bounds: from where to where the hue comes before the first, second, third of them, and last.
    """

    rows: Int[Tensor, " m"]
    linear: Int[Tensor, "3 m"]
    factors: Float[Tensor, "3 m"]
    hue: Float[Tensor, " m"] | None
    bounds: list[int]


def turns_of(rows: Int[Tensor, " m"], params: Mapping[str, Tensor]) -> Turns:
    """Sort the samples `rows`, all on the CPU: how many there are to a turn must be known before the work begins.

    `params` are those of all N samples.
    """
    order = params["order"].index_select(0, rows)
    when, by_turn = (order == _HUE).int().argmax(1).sort(stable=True)
    order, rows = order.index_select(0, by_turn), rows.index_select(0, by_turn)
    bounds = torch.searchsorted(when, torch.arange(5)).tolist()
    linear = order[order != _HUE].view(-1, 3).T  # the three that are one formula, in each sample's order
    strengths = torch.stack([params[key].index_select(0, rows) for key in ("brightness", "contrast", "saturation")])
    hue = params["hue"].index_select(0, rows) if "hue" in params else None
    return Turns(rows, linear, strengths.gather(0, linear), hue, bounds)


def jitter(images: Float[Tensor, "n c h w"], turns: Turns) -> Float[Tensor, "n c h w"]:
    """Jitter the colours of some samples in place, each in its own order, clamped after each step.

    Brightness, contrast and saturation are one formula, x <- clamp(f x + a luma(x) + b mean(luma(x)), 0, 1),
    so all samples take their first, second and third of these at once. Hue is not; since samples are sorted by
    when theirs comes, each of the four groups is one slice.
    """
    chosen = images.index_select(0, turns.rows)
    for turn in range(4):
        now = slice(turns.bounds[turn], turns.bounds[turn + 1])
        if turns.hue is not None and now.stop > now.start:
            shift_hue(chosen[now], turns.hue[now])
        if turn < 3:
            _blend(chosen, turns.factors[turn], turns.linear[turn])
    return images.index_copy_(0, turns.rows, chosen)


def _blend(images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"], step: Int[Tensor, " n"]) -> None:
    """Move each image in place away from black, its mean or its own grey, whichever its `step` says."""
    rest = 1 - factor
    grey = luminance(images)
    mean = grey.mean((1, 2, 3)).mul_(rest * (step == _CONTRAST))
    grey.mul_((rest * (step == _SATURATION))[:, None, None, None]).add_(mean[:, None, None, None])
    images.mul_(factor[:, None, None, None]).add_(grey).clamp_(0, 1)


def shift_hue(images: Float[Tensor, "n 3 h w"], turns: Float[Tensor, " n"]) -> Float[Tensor, "n 3 h w"]:
    """Turn the colour circle in place (1 is once round), keeping saturation and value: HSV without branches.

    With m = min, c = max - min: the hue in turns is copysign(1 + (g + b - r - m) / c, g - b) / 6, and each
    channel becomes m + c clamp(2 - 6 d, 0, 1), d the distance on the circle from the new hue to red, green or
    blue.
    """
    red, green, blue = images.chunk(3, dim=1)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(low)
    hue = (green + blue).sub_(red).sub_(low)
    # Grey pixels have no hue and c = 0: any finite hue gives m back.
    hue.div_(chroma.clamp(min=1e-12)).add_(1).copysign_(green - blue)
    primary = _numbers((0.0, 1 / 3, 2 / 3), images.device)
    place = (turns[:, None] - primary)[:, :, None, None]
    distance = torch.add(place, hue, alpha=1 / 6)
    distance.sub_(distance.round()).abs_()
    torch.mul(distance.mul_(-6).add_(2).clamp_(0, 1), chroma, out=images)
    return images.add_(low)


def blur(images: Float[Tensor, "n c s s"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n c s s"]:
    """Blur with a Gaussian of 23 taps and `sigma` pixels, mirrored at the edge: `B @ image @ B.T`, B per sample.

    23 taps are BYOL's at 224 pixels. They are kept at every size: with sigma <= 2 they reach 5.5 sigma, so
    nothing measurable is cut off, and this is also the unlimited Gaussian that the official code's PIL blur
    stands for.

    Source: BYOL (Grill et al. 2020), appendix B; kernel and edge as in torchvision's `gaussian_blur`.
    """
    n, channels, size, _ = images.shape
    matrix = _blur_matrix(sigma, size)
    # Only the band around the diagonal is not zero: block by block of output pixels, with what they read.
    starts = range(0, size, _BLUR_BLOCK)
    out = [slice(start, start + _BLUR_BLOCK) for start in starts]
    read = [slice(max(start - _BLUR_RADIUS, 0), start + _BLUR_BLOCK + _BLUR_RADIUS) for start in starts]
    lines = images.reshape(n, channels * size, size)
    wide = torch.cat([lines[:, :, r] @ matrix[:, o, r].transpose(1, 2) for o, r in zip(out, read, strict=True)], 2)
    lines = wide.view(n * channels, size, size)
    matrix = matrix[:, None].expand(n, channels, size, size).reshape(n * channels, size, size)
    tall = torch.cat([matrix[:, o, r] @ lines[:, r] for o, r in zip(out, read, strict=True)], 1)
    return tall.view(n, channels, size, size)


def _blur_matrix(sigma: Float[Tensor, " n"], size: int) -> Float[Tensor, "n size size"]:
    """Return the matrices that blur one axis, the mirrored edge folded in."""
    taps = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=torch.float32, device=sigma.device)
    kernel = torch.softmax(-0.5 * (taps / sigma[:, None]).square(), dim=1)
    return (kernel @ _taps_to_pixels(size, sigma.device)).view(-1, size, size)


@functools.lru_cache(maxsize=8)
def _taps_to_pixels(size: int, device: torch.device) -> Float[Tensor, "taps pixels"]:
    """Return which source pixel each tap of each output pixel reads, as zeros and ones (taps, size²)."""
    out = torch.arange(size)
    period = max(2 * (size - 1), 1)
    read = (out + torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)[:, None]).remainder(period)
    read = torch.minimum(read, period - read) if size > 1 else torch.zeros_like(read)
    there: Tensor = to_device(torch.nn.functional.one_hot(read, size).float().view(len(read), -1), device)
    return there


def solarize(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Invert what is brighter than the middle, x <- min(x, 1 - x): threshold 128 of 255."""
    return torch.minimum(images, 1 - images)


def sample_contrast(num_samples: int, gain: float, shift: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw gain (N,) in [1 - gain, 1 + gain] and shift (N,) in [-shift, shift], both uniform."""
    uniform = 2 * torch.rand(2, num_samples, generator=generator) - 1
    return {"gain": 1 + gain * uniform[0], "shift": shift * uniform[1]}


def contrast(
    images: Float[Tensor, "n c h w"], gain: Float[Tensor, " n"], shift: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Stretch in place about mid-grey and shift: x <- clamp((x - 1/2) gain + 1/2 + shift, 0, 1)."""
    offset = shift + 0.5 - 0.5 * gain
    return images.mul_(gain[:, None, None, None]).add_(offset[:, None, None, None]).clamp_(0, 1)


def sample_noise(
    num_samples: int, largest: float, shape: tuple[int, int, int], generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw level (N,) uniform in [0, largest] and white Gaussian noise of that deviation (N, *shape)."""
    level = largest * torch.rand(num_samples, generator=generator)
    noise = torch.randn(num_samples, *shape, generator=generator)
    return {"level": level, "noise": noise.mul_(level[:, None, None, None])}


def normalise(
    images: Float[Tensor, "n c h w"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    out: Float[Tensor, "n c h w"],
) -> Float[Tensor, "n c h w"]:
    """Write (x - mean) / std of each channel into `out` and return it."""
    centre = _numbers(mean, images.device)[:, None, None]
    return torch.sub(images, centre, out=out).div_(_numbers(std, images.device)[:, None, None])


@functools.lru_cache(maxsize=64)
def _numbers(values: tuple[float, ...], device: torch.device) -> Float[Tensor, " c"]:
    """Return constants on a device, brought there once."""
    with torch.inference_mode(False):  # what is made in that mode could not be used outside
        there: Tensor = to_device(torch.tensor(values), device)
        return there


def to_pixels(
    view: Float[Tensor, "n c h w"], mean: tuple[float, ...], std: tuple[float, ...]
) -> UInt8[Tensor, "n c h w"]:
    """Undo `normalise` and round to uint8: the view as a person sees it."""
    centre = torch.tensor(mean, device=view.device)[:, None, None]
    unit = view * torch.tensor(std, device=view.device)[:, None, None] + centre
    return unit.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
