"""Orthonormal columns that make diagonals equal, which is what optimal linear projectors are made of.

    tight_frame            F F^T has an equal diagonal: cosines and sines
    equalizing_rotation    O diag(v) O^T has an equal diagonal, for any v (Schur and Horn): plane rotations
    flat_columns           F diag(v) F^T has an equal diagonal for two v at once: Hadamard matrices, else Newton steps

For two at once a solution need not exist, and three things make the search small:

- D = D1 + D2 can be solved apart, as long as neither is below the number of columns: powers of two are split off.
- Columns H kron F of a Hadamard matrix H (size h) and F of size m = D/h have the diagonal of F with the sums of v over
  groups of h: sizes are halved as far as they are even. For D a power of two nothing is left to solve.
- In F = (1 - K/2)^-1 (1 + K/2) F_0 with skew K, to first order in K,

      diag(M)_i changes by 2 sum_j K_ij M_ij,    M = F diag(v) F^T,

  D equations for each v. The smallest K has K_ij = sum_v (u_i - u_j) M_ij, and the equations for u are those of a
  graph with edges M_ij M'_ij. They are solved with damping (Levenberg and Marquardt).

That finds a solution nearly always: in some thousand random cases every time from D = 12 on, and about 99 times of 100
at D = 5 to 11 with three columns or more. There is none for odd D and two columns of unequal ratio, as all entries
would have to be +- D^-1/2, which no two orthogonal columns of odd length can be, and seldom one for D = 3.
"""

import torch
from jaxtyping import Float64
from torch import Tensor

EQUAL = 1e-11
"""Diagonals this close to their mean, in units of the largest v, count as equal."""
STARTS = 3
"""Random orthogonal matrices to start from; from one in about thirty, small ones do not lead to a solution."""
STEPS = 60
"""Newton steps of a start: 5 to 10 mostly, up to 30 for small sizes."""
EASY = 16
"""From this size on a random start has always led to a solution; splitting goes no further down."""
LARGEST = 1024
"""Newton's equations have twice this size, a second or two a step; beyond, only the first diagonal is made equal."""


def tight_frame(size: int, rank: int) -> Float64[Tensor, "size rank"]:
    """Return orthonormal columns with rows of equal length sqrt(rank/size): an equal-norm tight frame.

    Pairs (2/D)^1/2 cos(2 pi i k / D), (2/D)^1/2 sin(2 pi i k / D) for k = 1, 2, ... and, for odd rank, the constant
    D^-1/2; the identity if rank = size.
    """
    if not 1 <= rank <= size:
        raise ValueError(f"rank: got {rank}, wanted 1 to {size}")
    if rank == size:
        return torch.eye(size, dtype=torch.float64)
    angles = torch.arange(size, dtype=torch.float64)[:, None] * torch.arange(1, rank // 2 + 1) * (2 * torch.pi / size)
    constant = torch.full((size, rank % 2), size**-0.5, dtype=torch.float64)
    return torch.cat([constant, (2 / size) ** 0.5 * angles.cos(), (2 / size) ** 0.5 * angles.sin()], dim=1)


def equalizing_rotation(values: Float64[Tensor, " n"]) -> Float64[Tensor, "n n"]:
    """Return an orthogonal O with equal diagonal of O diag(values) O^T, by n - 1 plane rotations.

    Each takes the smallest and the largest value that are left, turns their plane until one of them is the mean, and
    lets go of it. What is left stays diagonal, so that every angle is known exactly.
    """
    rest, mean = values.clone(), float(values.mean())
    rotation = torch.eye(len(values), dtype=torch.float64)
    free = torch.ones(len(values), dtype=torch.bool)
    for _ in range(len(values) - 1):
        low = int(torch.where(free, rest, torch.inf).argmin())
        high = int(torch.where(free, rest, -torch.inf).argmax())
        a, b = float(rest[low]), float(rest[high])
        if not a < mean < b:
            break  # equal up to rounding
        sine, cosine = ((mean - a) / (b - a)) ** 0.5, ((b - mean) / (b - a)) ** 0.5
        turned = [cosine * rotation[low] + sine * rotation[high], cosine * rotation[high] - sine * rotation[low]]
        rotation[[low, high]] = torch.stack(turned)
        rest[high] = a + b - mean
        free[low] = False
    return rotation


def flat_columns(values: Float64[Tensor, "2 n"], size: int) -> tuple[Float64[Tensor, "size n"], bool]:
    """Return orthonormal columns F with equal diagonals of F diag(v) F^T for both rows v of `values`, and whether so.

    Where no equal diagonals were found, F is the closest.
    """
    count = values.shape[1]
    if count > size:
        raise ValueError(f"size: got {size}, wanted at least the {count} columns")
    power = 1 << max(0, size - max(count, EASY)).bit_length() >> 1
    if power >= max(count, 1):
        columns, equal = flat_columns(values, size - power)
        apart = [_sylvester(power)[:, :count] * (power / size) ** 0.5, columns * (1.0 - power / size) ** 0.5]
        return torch.cat(apart), equal
    padded = values.new_zeros(2, size)
    padded[:, :count] = values
    small = size // (size & -size)  # the odd part
    best, least = padded, float("inf")
    while small <= min(size, LARGEST):
        groups = padded.view(2, small, size // small)  # column k is row k // h of F's and k % h of the Hadamard matrix
        for start in range(STARTS if least > EQUAL else 0):
            found, unequal = _newton(groups.sum(dim=2), start)
            if unequal < least:
                best, least = torch.einsum("ij,pq->ipjq", found, _sylvester(size // small)), unequal
            if least <= EQUAL:
                break
        small *= 2
    if least == float("inf"):
        best = equalizing_rotation(padded[0])
    return best.reshape(size, size)[:, :count], least <= EQUAL


def _sylvester(size: int) -> Tensor:
    """Hadamard matrix of a power of two, divided by its root."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)])
    return matrix.div_(size**0.5)


def _newton(values: Tensor, start: int) -> tuple[Tensor, float]:
    """Orthogonal matrix from a random one, and how far the diagonals are from equal, in units of the largest value."""
    size = values.shape[1]
    scaled = values / values.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    random = torch.randn(size, size, dtype=values.dtype, generator=torch.Generator().manual_seed(start))
    rotation = torch.linalg.qr(random).Q
    matrices, residual = _diagonals(rotation, scaled)
    damping, rejected = 1e-3, 0
    for _ in range(STEPS):
        if residual.abs().max() <= EQUAL or rejected > 3:
            break
        half = _step(matrices, residual, damping) / 2
        one = torch.eye(size, dtype=half.dtype)
        # Orthogonal but for rounding, which a large K, where no solution is near, makes as large as 1e-3.
        candidate = torch.linalg.qr(torch.linalg.solve(one - half, (one + half) @ rotation)).Q
        new_matrices, new_residual = _diagonals(candidate, scaled)
        gain = float(new_residual.square().sum() / residual.square().sum())
        rejected = rejected + 1 if gain > 0.999 else 0  # a minimum that is not zero is not worth the other steps
        damping = damping * 10.0 if gain >= 1.0 else max(damping / 10.0, 1e-14)
        if gain < 1.0:
            rotation, matrices, residual = candidate, new_matrices, new_residual
    return rotation, float(residual.abs().max())


def _diagonals(rotation: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices M of both rows of `values`, and their diagonals less the mean."""
    matrices = (rotation * values[:, None]) @ rotation.T
    diagonals = matrices.diagonal(dim1=1, dim2=2)
    return matrices, diagonals - values.mean(dim=1, keepdim=True)


def _step(matrices: Tensor, residual: Tensor, damping: float) -> Tensor:
    """Skew K of the damped Newton step."""
    size = residual.shape[1]
    edges = matrices[:, None] * matrices[None]  # (2, 2, n, n)
    graph = torch.diag_embed(edges.sum(dim=3)) - edges
    system = graph.transpose(1, 2).reshape(2 * size, 2 * size)
    ridge = damping * float(system.diagonal().mean()) + torch.finfo(system.dtype).tiny
    system.diagonal().add_(ridge)
    potential = torch.linalg.solve(system, -residual.flatten() / 2).view(2, size)
    skew: Tensor = ((potential[:, :, None] - potential[:, None]) * matrices).sum(dim=0)
    return skew
