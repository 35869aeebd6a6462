"""The mask of a whole image of any size: at once where it is small, else window by window, at the size of the image."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from barlow.applications.segmentation.pictures import Seen, enlarged

WINDOW = 512
"""Side of the windows of larger images; what the network needs for one is what it needs at all."""
MARGIN = 64
"""Pixels around the inner part of a window, whose scores are not used: there the network saw the end of the window."""
LEAST_SIDE = 32
"""Smaller images are repeated up to this side: a U-Net halves four times, and its last map should not be one pixel."""


@torch.inference_mode()
def predict_mask(
    network: nn.Module, image: UInt8[Tensor, "c h w"], seen: Seen, *, window: int = WINDOW, margin: int = MARGIN
) -> UInt8[Tensor, "h w"]:
    """Return the class of every pixel of an image, at its own size.

    Where the image is seen as it is and larger than a window, each window of `window` pixels gives its inner part, so
    that memory is bounded by one window and the mask. Where it is seen shrunk, the scores are put together first and
    enlarged to the size of the image.

    Args:
        network: normalised images -> scores; in evaluation mode.
        image: uint8, any size.
        seen: how the network sees images.
        window: side of a window in pixels of the image as it is seen.
        margin: pixels on each side of a window that have to be seen and are not used.
    """
    if window <= 2 * margin:
        raise ValueError(f"window: got {window} with margins of {margin}, wanted more than {2 * margin}")
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    x, size = seen.input(image), tuple(image.shape[-2:])
    if max(x.shape[-2:]) <= window:
        return enlarged(_scores(network, x, device), size)
    if tuple(x.shape[-2:]) == size:
        mask = torch.empty(size, dtype=torch.uint8)
        for place, scores in _inner_parts(network, x, device, window, margin):
            mask[place] = enlarged(scores, scores.shape[-2:])
        return mask
    whole: Tensor | None = None
    for place, scores in _inner_parts(network, x, device, window, margin):
        whole = scores.new_empty(1, scores.shape[1], *x.shape[-2:]) if whole is None else whole
        whole[..., place[0], place[1]] = scores
    assert whole is not None
    return enlarged(whole, size)


def _inner_parts(
    network: nn.Module, x: Float[Tensor, "1 c h w"], device: torch.device, window: int, margin: int
) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """Yield disjoint parts that together are the image, each with the scores of the window around it."""
    height, width = x.shape[-2:]
    for rows, inner_rows in spans(height, window, margin):
        for columns, inner_columns in spans(width, window, margin):
            scores = _scores(network, x[..., rows, columns], device)
            within = (
                slice(inner_rows.start - rows.start, inner_rows.stop - rows.start),
                slice(inner_columns.start - columns.start, inner_columns.stop - columns.start),
            )
            yield (inner_rows, inner_columns), scores[..., within[0], within[1]]


def spans(length: int, window: int, margin: int) -> list[tuple[slice, slice]]:
    """Return (what is seen, what of it is used) along one axis; what is used is disjoint and together everything."""
    if length <= window:
        return [(slice(0, length), slice(0, length))]
    found, begin = [], 0
    while begin < length:
        start = min(max(begin - margin, 0), length - window)
        end = length if start + window == length else start + window - margin
        found.append((slice(start, start + window), slice(begin, end)))
        begin = end
    return found


def _scores(network: nn.Module, x: Float[Tensor, "1 c h w"], device: torch.device) -> Float[Tensor, "1 k h w"]:
    height, width = x.shape[-2:]
    rows, columns = (torch.arange(max(side, LEAST_SIDE)) % side for side in (height, width))
    scores: Tensor = network(x[..., rows, :][..., columns].to(device)).float().cpu()
    return scores[..., :height, :width]
