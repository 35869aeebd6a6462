"""Where a view looks: crop boxes, their exact resize with the flip folded in, and affine jitter.

Boxes are drawn as torchvision's `RandomResizedCrop` draws them, for all samples at once. The resize is the
antialiased one of PIL and torchvision. A batch of small equal images is resized as a whole by two banded
matrices per sample, `Y @ image @ X.T`; larger images, and images of unequal size, go one by one through
torch's uint8 kernel, which touches only the taps that count (on a CPU matrices win up to about 64 pixels).
Elsewhere there are matrices only: a GPU has no such kernel (Apple's have no antialiasing at all), and would
wait for the CPU to ask for every picture. Crops of unequal size are laid side by side for it, in their corners.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Integer, Shaped
from torch import Tensor
from torch.nn import functional

from barlow.seams import to_device

Interpolation = Literal["bicubic", "bilinear"]
Fit = Literal["square", "whole"]
"""What of an image that is not square is seen: crops of usual shape, and the largest central square without a crop; or
crops as wide or high as the image itself, and all of it without a crop, squeezed to a square."""
Images: TypeAlias = Tensor | Sequence[Tensor]
"""(N, C, H, W), or one (C, H_i, W_i) per sample; uint8, or floating with values in [0, 1]."""

Ratio: TypeAlias = float | Tensor
"""Width / height, one for all samples or (N,)."""

_LARGEST_SIDE_FOR_MATRICES = 64
_CROP_TRIES = 10
_PIXELS_SIDE_BY_SIDE = 2**24
"""Of all crops that a GPU resizes at once; 200 MB in float32 with three channels."""


def image_sizes(batch: Images) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return heights and widths of the samples, on the CPU."""
    if isinstance(batch, Tensor):
        height, width = batch.shape[-2:]
        return torch.full((len(batch),), height), torch.full((len(batch),), width)
    sizes = torch.tensor([image.shape[-2:] for image in batch], dtype=torch.int64).reshape(-1, 2)
    return sizes[:, 0], sizes[:, 1]


def sample_crop(
    heights: Int[Tensor, " n"],
    widths: Int[Tensor, " n"],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
    fit: Fit = "square",
) -> dict[str, Tensor]:
    """Draw one crop box per sample: area uniform, aspect ratio log-uniform, place uniform.

    A box that does not fit is drawn again, ten times in all; then the largest central box of admissible ratio is taken,
    exactly as torchvision does. `scale` is the area as a fraction of the image, `ratio` width / height, where `fit` is
    "whole" in units of the image's own: what would be drawn if it had been squeezed to a square before. Top, left,
    height, width are (N,) pixels.

    Source: `torchvision.transforms.v2.RandomResizedCrop.make_params`.
    """
    n = len(heights)
    uniform = torch.rand(4, n, _CROP_TRIES, generator=generator)
    area = (heights * widths)[:, None] * (scale[0] + (scale[1] - scale[0]) * uniform[0])
    # No exp, sqrt and round: torch splits those over its threads from 2048 numbers on and waits for the slowest,
    # which on a busy machine takes longer than making the views does.
    aspect = ratio[0] * (ratio[1] / ratio[0]) ** uniform[1]
    if fit == "whole":
        own = (widths / heights)[:, None]
        aspect = aspect * own
        ratios: tuple[Ratio, Ratio] = (ratio[0] * own[:, 0], ratio[1] * own[:, 0])
    else:
        ratios = ratio
    squares = torch.stack([area * aspect, area / aspect])
    width, height = (squares * squares.rsqrt() + 0.5).long()
    fits = (width > 0) & (width <= widths[:, None]) & (height > 0) & (height <= heights[:, None])
    first = fits.int().argmax(1, keepdim=True)
    width, height = width.gather(1, first)[:, 0], height.gather(1, first)[:, 0]
    place = uniform[2:].gather(2, first.expand(2, n, 1))[..., 0]
    # float32 can round u * (k + 1) up to k + 1, which would be one pixel outside.
    top = torch.minimum((place[0] * (heights - height + 1)).long(), heights - height)
    left = torch.minimum((place[1] * (widths - width + 1)).long(), widths - width)
    drawn = torch.stack([top, left, height, width])
    box = torch.where(fits.any(1), drawn, _largest_central_box(heights, widths, ratios))
    return dict(zip(("top", "left", "height", "width"), box, strict=True))


def _largest_central_box(
    heights: Int[Tensor, " n"], widths: Int[Tensor, " n"], ratio: tuple[Ratio, Ratio]
) -> Int[Tensor, "4 n"]:
    """Return top, left, height, width of the largest central box whose ratio is admissible."""
    height = torch.minimum(heights, (widths / ratio[0]).round().long())
    width = torch.minimum(widths, (heights * ratio[1]).round().long())
    return torch.stack([(heights - height) // 2, (widths - width) // 2, height, width])


def plain_box(heights: Int[Tensor, " n"], widths: Int[Tensor, " n"], fit: Fit = "square") -> dict[str, Tensor]:
    """Return what of each sample is seen without augmentation: its largest central square, or all of it."""
    if fit == "whole":
        box = torch.stack([torch.zeros_like(heights), torch.zeros_like(widths), heights, widths])
    else:
        box = _largest_central_box(heights, widths, (1.0, 1.0))
    return dict(zip(("top", "left", "height", "width"), box, strict=True))


def crop_and_resize(
    batch: Images,
    box: Mapping[str, Tensor],
    flipped: Bool[Tensor, " n"],
    size: int,
    interpolation: Interpolation,
) -> Float[Tensor, "n c s s"]:
    """Cut each sample's box out, resize it to a square of `size` pixels, mirror it left to right where `flipped`.

    Box and flip come on the CPU, whatever the images are on. Antialiased where the box shrinks. Returns float32 in
    [0, 1].
    """
    on_cpu = device_of(batch).type == "cpu"
    if isinstance(batch, Tensor) and not (on_cpu and max(batch.shape[-2:]) > _LARGEST_SIDE_FOR_MATRICES):
        box, flipped = to_device((dict(box), flipped), batch.device)
        return _by_matrices(batch, box, flipped, size, interpolation)
    corners = torch.stack([box[key] for key in ("top", "left", "height", "width")], dim=1)
    if not on_cpu:
        groups = _fitting_together(corners)
        return torch.cat([_side_by_side(batch[g], corners[g], flipped[g], size, interpolation) for g in groups])
    resized = []
    for image, (top, left, height, width), mirror in zip(batch, corners.tolist(), flipped.tolist(), strict=True):
        cut = image[None, :, top : top + height, left : left + width]
        if (height, width) != (size, size):
            cut = functional.interpolate(cut, size=(size, size), mode=interpolation, antialias=True)
        resized.append(cut.flip(-1) if mirror else cut)
    return as_unit_float(torch.cat(resized)).clamp_(0, 1)


def crop_nearest(
    masks: Images, box: Mapping[str, Tensor], flipped: Bool[Tensor, " n"], size: int
) -> Integer[Tensor, "n s s"]:
    """Cut boxes out of masks as `crop_and_resize` does of images, each pixel of the result one of the mask.

    Output pixel o comes from the pixel in which its centre lies: start + floor((o + 1/2) length / size).
    """
    corners = torch.stack([box[key] for key in ("top", "left", "height", "width")], dim=1).tolist()
    centre = torch.arange(size, dtype=torch.float64) + 0.5
    cut = []
    for mask, (top, left, height, width), mirror in zip(masks, corners, flipped.tolist(), strict=True):
        rows, columns = (centre * height / size).long() + top, (centre * width / size).long() + left
        columns = columns.flip(0) if mirror else columns
        cut.append(mask.index_select(0, rows.to(mask.device)).index_select(1, columns.to(mask.device)))
    return torch.stack(cut)


def flip_vertically(images: Shaped[Tensor, "n c s s"], chosen: Bool[Tensor, " n"]) -> Shaped[Tensor, "n c s s"]:
    """Turn some images upside down, mirrored."""
    rows = chosen.nonzero()[:, 0].to(images.device)
    return images.index_copy(0, rows, images.index_select(0, rows).flip(-2)) if len(rows) else images


def quarter_turns(images: Shaped[Tensor, "n c s s"], turns: Integer[Tensor, " n"]) -> Shaped[Tensor, "n c s s"]:
    """Turn square images by quarters against the clock, each by its own number of them."""
    for number in (1, 2, 3):
        rows = (turns == number).nonzero()[:, 0].to(images.device)
        if len(rows):
            images = images.index_copy(0, rows, images.index_select(0, rows).rot90(number, (-2, -1)))
    return images


def _fitting_together(corners: Int[Tensor, "n 4"]) -> list[slice]:
    """Cut a list of crops into runs whose largest height and width, times their number, stay within a limit."""
    groups, begin, tallest, widest = [], 0, 0, 0
    for place, (height, width) in enumerate(corners[:, 2:].tolist()):
        tallest, widest = max(tallest, height), max(widest, width)
        if place > begin and (place + 1 - begin) * tallest * widest > _PIXELS_SIDE_BY_SIDE:
            groups.append(slice(begin, place))
            begin, tallest, widest = place, height, width
    return [*groups, slice(begin, len(corners))]


def _side_by_side(
    images: Images,
    corners: Int[Tensor, "n 4"],
    flipped: Bool[Tensor, " n"],
    size: int,
    interpolation: Interpolation,
) -> Float[Tensor, "n c s s"]:
    """Resize crops of unequal size at once: each lies in the corner of a picture of the largest height and width."""
    tallest, widest = corners[:, 2:].amax(0).tolist()
    cuts = images[0].new_zeros(len(images), images[0].shape[0], tallest, widest)
    for place, image, (top, left, height, width) in zip(cuts, images, corners.tolist(), strict=True):
        place[:, :height, :width].copy_(image[:, top : top + height, left : left + width])
    start = torch.zeros(len(images), dtype=corners.dtype)
    box = {"top": start, "left": start, "height": corners[:, 2], "width": corners[:, 3]}
    box, flipped = to_device((box, flipped), cuts.device)
    return _by_matrices(cuts, box, flipped, size, interpolation)


def device_of(batch: Images) -> torch.device:
    """Return where the images are."""
    if isinstance(batch, Tensor):
        return batch.device
    return batch[0].device if len(batch) else torch.device("cpu")


def as_unit_float(images: Tensor) -> Float[Tensor, "..."]:
    """Return a new contiguous float32 tensor: uint8 is divided by 255, floats are taken as they are."""
    fresh = images.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return fresh.mul_(1 / 255) if images.dtype == torch.uint8 else fresh


def _by_matrices(
    images: Tensor,
    box: Mapping[str, Tensor],
    flipped: Bool[Tensor, " n"],
    size: int,
    interpolation: Interpolation,
) -> Float[Tensor, "n c s s"]:
    """Crop and resize a batch of equal images: `Y @ image @ X.T` with each sample's own X and Y."""
    n, channels, height, width = images.shape
    rows = resize_matrix(box["top"], box["height"], height, size, interpolation)
    columns = resize_matrix(box["left"], box["width"], width, size, interpolation, reverse=flipped)
    if images.dtype == torch.uint8:
        rows.mul_(1 / 255)
    pixels = images.to(torch.float32).reshape(n, channels * height, width)
    wide = torch.bmm(pixels, columns.transpose(1, 2)).view(n * channels, height, size)
    rows = rows[:, None].expand(n, channels, size, height).reshape(n * channels, size, height)
    return torch.bmm(rows, wide).view(n, channels, size, size).clamp_(0, 1)


def resize_matrix(
    start: Int[Tensor, " n"],
    length: Int[Tensor, " n"],
    source: int | torch.SymInt,  # not yet a number while a graph for any size is made
    size: int,
    interpolation: Interpolation,
    reverse: Bool[Tensor, " n"] | None = None,
) -> Float[Tensor, "n size source"]:
    """Write the resize of an interval as a matrix: row o is the filter around the place pixel o comes from.

    M[o, j] ~ k((j + 1/2 - start - (o + 1/2) r) / max(r, 1)), r = length / size, inside the interval, rows sum
    to 1; k is the triangle, or Keys' cubic with a = -1/2 as in PIL. `reverse` says where the result runs backwards.
    """
    pixel = torch.arange(source, dtype=torch.float32, device=start.device)
    step = (length / size)[:, None]
    out = torch.arange(size, dtype=torch.float32, device=start.device).expand(len(start), size)
    if reverse is not None:
        out = torch.where(reverse[:, None], size - 1 - out, out)
    shrink = step.clamp(min=1)
    origin = pixel + 0.5 - start[:, None]
    distance = (origin / shrink)[:, None, :] - ((out + 0.5) * (step / shrink))[:, :, None]
    weights = _kernel(distance.abs_(), interpolation)
    weights.mul_(((origin > 0) & (origin < length[:, None]))[:, None, :])
    return weights.div_(weights.sum(-1, keepdim=True))


def _kernel(distance: Float[Tensor, "..."], interpolation: Interpolation) -> Float[Tensor, "..."]:
    """Return the filter at |distance|, without branches: tensors of masks cost more than the polynomial."""
    if interpolation == "bilinear":
        return distance.neg_().add_(1).clamp_(min=0)
    outer = distance.neg_().add_(2).clamp_(min=0)
    inner = (outer - 1).clamp_(min=0)
    # With u = max(2 - |d|, 0) and v = max(u - 1, 0), Keys' two cubics are u^2 (u - 1) / 2 + v^2 (1 - 2 v).
    cubic = (outer - 1).mul_(outer).mul_(outer).mul_(0.5)
    return cubic.addcmul_(inner.square(), inner.mul_(-2).add_(1))


def sample_affine(
    num_samples: int,
    rotation: float,
    translation: float,
    zoom: tuple[float, float],
    shear: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Draw an affine map per sample, each part uniform up to the largest one either way; zoom has two ends.

    Angle (N,) in degrees, shift (N, 2) in fractions of the side (x, y), zoom (N,), shear (N,) in degrees along x.
    """
    uniform = torch.rand(num_samples, 5, generator=generator)
    signed = uniform * 2 - 1
    return {
        "angle": signed[:, 0] * rotation,
        "shift": signed[:, 1:3] * translation,
        "zoom": zoom[0] + (zoom[1] - zoom[0]) * uniform[:, 3],
        "shear": signed[:, 4] * shear,
    }


def affine(
    images: Float[Tensor, "n c s s"],
    angle: Float[Tensor, " n"],
    shift: Float[Tensor, "n 2"],
    zoom: Float[Tensor, " n"],
    shear: Float[Tensor, " n"],
) -> Float[Tensor, "n c s s"]:
    """Rotate, shear, zoom and shift square images about their centre, bilinear; outside is black.

    Angles turn as in torchvision's `affine`; shifts, x to the right and y down, are not rounded to pixels, which
    matters at 8 x 8.
    """
    grid = _affine_grid(list(images.shape), angle, shift, zoom, shear)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def affine_nearest(
    masks: Integer[Tensor, "n s s"],
    angle: Float[Tensor, " n"],
    shift: Float[Tensor, "n 2"],
    zoom: Float[Tensor, " n"],
    shear: Float[Tensor, " n"],
    *,
    outside: int,
) -> Integer[Tensor, "n s s"]:
    """Move masks as `affine` moves images, each pixel of the result one of the mask, or `outside`."""
    moved = tuple(part.to(masks.device) for part in (angle, shift, zoom, shear))
    grid = _affine_grid([len(masks), 1, *masks.shape[1:]], *moved)
    values = (masks[:, None].to(torch.float32) + 1.0).contiguous()  # so that 0 is free to say: outside
    found = functional.grid_sample(values, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0]
    return torch.where(found > 0, found - 1, float(outside)).to(masks.dtype)


def _affine_grid(
    shape: list[int],
    angle: Float[Tensor, " n"],
    shift: Float[Tensor, "n 2"],
    zoom: Float[Tensor, " n"],
    shear: Float[Tensor, " n"],
) -> Float[Tensor, "n s s 2"]:
    """Where each output pixel of `affine` comes from."""
    cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
    slope = torch.deg2rad(shear).tan()
    # Output place -> input place: the inverse of Zoom Rotate Shear; shifts double as the frame is [-1, 1].
    inverse = (
        torch.stack([torch.stack([cos - sin * slope, sin + cos * slope], 1), torch.stack([-sin, cos], 1)], 1)
        / (zoom[:, None, None])
    )
    moved = torch.bmm(inverse, -2 * shift[:, :, None])
    return functional.affine_grid(torch.cat([inverse, moved], 2), shape, align_corners=False)
