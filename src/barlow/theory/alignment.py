"""Alignment and uniformity on the unit sphere: are two views near, and are images spread out.

With u = z / |z|, over n images i and the n(n-1)/2 pairs of them,

    alignment = mean_i |u_i^A - u_i^B|^p,        uniformity = log mean_{i<j} exp(-t |u_i - u_j|^2).

Both are the better the smaller they are, and each alone is easy: constant embeddings align perfectly and random ones
are uniform. As the sphere is all they look at, they change with any linear map of z that is no rotation or scale.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from barlow.theory.moments import NUM_BLOCKS
from barlow.theory.standard_errors import Jackknifed, block_of_each

ROWS = 1024
"""Rows per block: the pairs of two blocks take 8 MiB in float64, whatever the number of images."""


def alignment(z_a: Float[Tensor, "n d"], z_b: Float[Tensor, "n d"], power: float = 2.0) -> float:
    """Return mean_i |u_i^A - u_i^B|^power with u = z / |z|.

    Args:
        z_a: (n, d) embeddings of one view of n images.
        z_b: (n, d) embeddings of another view of the same images, in the same order.
        power: p, above 0.

    Returns:
        0, where all views of an image point the same way, to 2^power, where they are opposite. A zero embedding has
        no direction and stays zero, at distance 1 from all that are not.

    Raises:
        ValueError: no samples, shapes that differ, a power that is not positive, or values that are not finite.

    Source:
        Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
        hypersphere" (ICML 2020), section 4.1.1.
    """
    if z_a.shape != z_b.shape:
        raise ValueError(f"z_b: got shape {tuple(z_b.shape)}, wanted {tuple(z_a.shape)} as z_a")
    if not 0 < power < math.inf:
        raise ValueError(f"power: got {power}, wanted above 0")
    _check("z_a", z_a, 1)
    _check("z_b", z_b, 1)
    total = 0.0
    for rows_a, rows_b in zip(z_a.split(ROWS), z_b.split(ROWS), strict=True):
        distance = torch.linalg.vector_norm(_on_sphere(rows_a) - _on_sphere(rows_b), dim=1)
        total += float(distance.pow(power).sum())
    return total / len(z_a)


def uniformity(z: Float[Tensor, "n d"], t: float = 2.0) -> float:
    """Return log mean_{i<j} exp(-t |u_i - u_j|^2) with u = z / |z|, over pairs of different images.

    From 0, where all embeddings point the same way, to -2 t n/(n-1), which n <= d + 1 embeddings reach as a regular
    simplex; in many dimensions random directions are near to that, so that a good value is no sign of learning. The
    time grows as n^2 d, the memory does not grow.

    Takes one view of each image: views of one image as samples would count invariance as lack of uniformity. The larger
    t > 0, the more only near neighbours count. A zero embedding has no direction and stays zero, at distance 1 from all
    that are not.

    Source: Wang and Isola (ICML 2020), section 4.1.2.
    """
    if not 0 < t < math.inf:
        raise ValueError(f"t: got {t}, wanted above 0")
    _check("z", z, 2)
    log_sum = torch.tensor(-math.inf, dtype=torch.float64)
    for first, second, squares in _pairs_of_blocks(z):
        exponents = -t * squares
        if second == first:  # each pair once, and no point with itself
            exponents.masked_fill_(torch.ones_like(exponents, dtype=torch.bool).tril(), -math.inf)
        log_sum = torch.logaddexp(log_sum, exponents.flatten().logsumexp(dim=0))
    return float(log_sum) - math.log(len(z) * (len(z) - 1) / 2)


def jackknifed_uniformity(z: Float[Tensor, "n d"], num_blocks: int = NUM_BLOCKS, t: float = 2.0) -> Jackknifed:
    """Return the uniformity with its replicates, from one pass over the pairs: sums over the pairs of two blocks.

    With S_gh = sum of exp(-t |u_i - u_j|^2) over i in block g and j in block h, j not i, S the sum of them all and S_g
    that of row g, the pairs without block g add up to (S - 2 S_g + S_gg)/2. t has to be small enough that exp(-4t) does
    not underflow to 0.
    """
    _check("z", z, 3)
    whole = torch.tensor(uniformity(z, t), dtype=torch.float64)
    block = block_of_each(len(z), num_blocks)
    member = torch.nn.functional.one_hot(block).double()
    sums = torch.zeros(member.shape[1], member.shape[1], dtype=torch.float64)
    members = member.split(ROWS)
    for first, second, squares in _pairs_of_blocks(z):
        near = torch.exp(-t * squares)
        if second == first:
            near.fill_diagonal_(0.0)
        found = members[first].T @ near @ members[second]
        sums += found if second == first else found + found.T
    left = sums.sum() - 2 * sums.sum(dim=1) + sums.diagonal()
    kept = len(z) - member.sum(dim=0)
    return Jackknifed(whole, (left / (kept * (kept - 1))).log())


def _pairs_of_blocks(z: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Places of two blocks, and squared distances on the sphere of the rows of one to those of the other."""
    blocks = z.split(ROWS)
    for first, rows in enumerate(blocks):
        points = _on_sphere(rows)
        for second in range(first, len(blocks)):
            yield first, second, _squared_distances(points, points if second == first else _on_sphere(blocks[second]))


def _squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """(a, b) squared distances of all rows of one to all rows of the other; rounding leaves none below 0."""
    lengths = points.square().sum(dim=1)[:, None] + others.square().sum(dim=1)
    return lengths.sub_(points @ others.T, alpha=2.0).clamp_(min=0.0)


def _on_sphere(rows: Tensor) -> Tensor:
    """Rows of length 1 in float64; zero rows stay zero."""
    values = rows.double()
    largest = values.abs().amax(dim=1, keepdim=True)
    values = values / torch.where(largest > 0, largest, 1.0)  # tiny rows would underflow when squared
    length = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    return values / torch.where(length > 0, length, 1.0)


def _check(name: str, z: Tensor, least: int) -> None:
    if len(z) < least or not z.shape[1]:
        raise ValueError(f"{name}: got shape {tuple(z.shape)}, wanted at least {least} samples and a feature")
    if not z.isfinite().all():
        raise ValueError(f"{name}: has values that are not finite")
