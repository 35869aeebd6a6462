"""The plain view as a module for other programs: uint8 images of any size become network input, in matrices alone."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from barlow.images.views.geometry import Fit, Interpolation, plain_box, resize_matrix


class PlainView(nn.Module):
    """(N, H, W, C) uint8 images of one size, whatever it is, -> (N, C, S, S) float32: cut, resized, normalised.

    The values are those of the plain view of `ImagePipeline` on unrounded pixels. The resize is two products with
    matrices, as for small images there: a graph of them means the same in every runtime, which filters that
    runtimes have by name do not.
    """

    def __init__(
        self, size: int, mean: tuple[float, ...], std: tuple[float, ...], fit: Fit, interpolation: Interpolation
    ) -> None:
        super().__init__()
        self.size, self.fit, self.interpolation = size, fit, interpolation
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: UInt8[Tensor, "n h w c"]) -> Float[Tensor, "n c s s"]:
        """Return what the network sees of the images."""
        height, width = images.shape[1:3]
        box = plain_box(_as_tensor(height), _as_tensor(width), self.fit)
        rows = resize_matrix(box["top"], box["height"], height, self.size, self.interpolation)[0]
        columns = resize_matrix(box["left"], box["width"], width, self.size, self.interpolation)[0]
        pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        resized = torch.matmul(rows, torch.matmul(pixels, columns.T)).clamp(0, 1)
        return (resized - self.mean) / self.std


def _as_tensor(side: int | torch.SymInt) -> Tensor:
    return torch.full((1,), side, dtype=torch.int64)
