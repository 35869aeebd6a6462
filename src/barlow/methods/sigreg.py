"""LeJEPA (Balestriero & LeCun 2025): views agree, and embeddings are pulled towards a standard normal (SIGReg).

Seen along a unit direction a, embeddings x = z a of N samples have the empirical characteristic function
phi(t) = mean_n exp(i t x_n); a standard normal has exp(-t^2/2). Their distance, weighted by that normal (the statistic
of Epps & Pulley 1983), is averaged over random directions, drawn anew in every step:

    SIGReg = mean over directions and views of  N * integral |phi(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt,
    L = lambda * SIGReg + (1 - lambda) * mean (z_v - mean_v z)^2.
"""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from barlow.methods.heads import HeadSpec
from barlow.seams import Method, Terms, to_device
from barlow.statistics.collectives import (
    AllMean,
    all_mean_here,
    count_samples,
    identity,
    mean_for,
    num_processes,
    numbers_of_all,
)
from barlow.statistics.correlation import exact_dtype

SIGREG_WEIGHT = 0.02
"""lambda of the official minimal example."""

NUM_DIRECTIONS = 256
"""M of the official minimal example; its README has 1024."""

NUM_KNOTS = 17
LARGEST_T = 3.0
"""The integral is a trapezoid over 17 points on [0, 3], doubled because the integrand is even (official code)."""


def sigreg_loss(
    z: Float[Tensor, "v n d"],
    directions: Float[Tensor, "d m"],
    *,
    sigreg_weight: float = SIGREG_WEIGHT,
    all_mean: AllMean | None = None,
) -> Terms:
    """Draw the views of a sample together and the embeddings of every view towards N(0, I).

        L = lambda * SIGReg(z) + (1 - lambda) * mean_{v,n,i} (z_vni - mean_v z_vni)^2,

    where SIGReg is the distance of the embeddings, seen along random directions, from N(0, I); its formula opens
    `barlow/methods/sigreg.py`.

    Statistics are in float32 (float64 for float64 input), also under autocast.

    Args:
        z: embeddings of v >= 2 views of n samples.
        directions: one unit vector per column, the same on every process; `random_directions` draws them.
        sigreg_weight: lambda, in [0, 1].
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone; one of your own has to
            tell N: `barlow.MeanOver`.

    Returns:
        Terms with parts "sigreg" and "invariance" (both weighted) that add up to the total.

    Raises:
        ValueError: fewer than 2 views, directions of another width, a weight outside [0, 1], a bare `all_mean` of
            one's own.

    Source:
        Official minimal example (rbalestr-lab/lejepa). SIGReg grows with N where embeddings are not normal.
    """
    _check(z, directions, sigreg_weight)
    if all_mean is None and not torch.compiler.is_compiling():
        _require_the_same(directions)
    all_mean = mean_for(z, all_mean)
    with torch.autocast(device_type=z.device.type, enabled=False):
        dtype = exact_dtype(z)
        z = z.to(dtype)
        projections = z @ directions.to(dtype)
        sigreg = sigreg_weight * epps_pulley(projections, all_mean=all_mean).mean()
        spread = (z - z.mean(dim=0)).square().mean()
        invariance = (1 - sigreg_weight) * all_mean(spread, z.shape[1])
    return Terms(sigreg + invariance, {"sigreg": sigreg, "invariance": invariance})


def epps_pulley(x: Float[Tensor, "v n m"], *, all_mean: AllMean = identity) -> Float[Tensor, "v m"]:
    """Measure how far N numbers are from a standard normal, for each view and direction.

        N * sum_l w_l [ (mean_n cos(t_l x_n) - exp(-t_l^2/2))^2 + (mean_n sin(t_l x_n))^2 ],
        w_l = 2 * trapezoid * exp(-t_l^2/2)   on t_l in [0, 3].

    For numbers that are standard normal its mean is sum_l w_l (1 - exp(-t_l^2)) at every N, about 1.05: noise of the
    batch that no network can remove. An `all_mean` of one's own has to tell N: `barlow.MeanOver`.

    Source: Epps & Pulley 1983; knots and weights as in the official code of LeJEPA.
    """
    t, weight = knots(x.dtype, x.device)
    n = count_samples(x.shape[1], all_mean)
    real, imaginary = all_mean(_CharacteristicFunction.apply(x, t), x.shape[1])
    normal = torch.exp(-t.square() / 2)[:, None, None]
    distance = (real - normal).square() + imaginary.square()
    return n * torch.einsum("l,lvm->vm", weight, distance)


class _CharacteristicFunction(torch.autograd.Function):
    """x -> mean_n cos(t_l x_n) and mean_n sin(t_l x_n), (2, l, v, m).

    One knot at a time, and again in the backward pass, so that x is all that is kept: autograd would keep 34 tensors
    of its size.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor) -> Tensor:
        ctx.save_for_backward(x, t)
        parts = [torch.stack([(x * knot).cos().mean(dim=1), (x * knot).sin().mean(dim=1)]) for knot in t]
        return torch.stack(parts, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        x, t = ctx.saved_tensors
        grad = torch.zeros_like(x)
        for knot, real, imaginary in zip(t, *(grad_outputs[0] / x.shape[1]), strict=True):
            grad += knot * ((x * knot).cos() * imaginary[:, None] - (x * knot).sin() * real[:, None])
        return grad, None


def knots(dtype: torch.dtype, device: torch.device) -> tuple[Float[Tensor, " l"], Float[Tensor, " l"]]:
    """Return the points t_l and their weights: the trapezoid rule over [-3, 3], folded, times exp(-t^2/2)."""
    t = torch.linspace(0, LARGEST_T, NUM_KNOTS, dtype=dtype, device=device)
    step = LARGEST_T / (NUM_KNOTS - 1)
    weight = torch.full_like(t, 2 * step)
    weight[0] = weight[-1] = step
    return t, weight * torch.exp(-t.square() / 2)


def random_directions(
    num_features: int, num_directions: int, *, device: torch.device, all_mean: AllMean = identity
) -> Float[Tensor, "d m"]:
    """Draw unit vectors, uniform on the sphere, from torch's generator; the same on every process.

    Processes may be at different places of their generators: the mean of their normal draws is normal too, so its
    direction is as uniform as that of one draw, and all of them have it.
    """
    draw = all_mean(to_device(torch.randn(num_features, num_directions), device), 1)
    return F.normalize(draw, dim=0)


class SIGReg(Method):
    """Backbone, projector and the loss of two or more views, (z, directions, all_mean=...) -> Terms.

    The projector has batch norms inside and none at its end; the M directions are drawn anew in every step.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        loss: Callable[..., Terms] = sigreg_loss,
        *,
        num_directions: int = NUM_DIRECTIONS,
    ) -> None:
        super().__init__(backbone, projector)
        if num_directions < 1:
            raise ValueError(f"num_directions: got {num_directions}, wanted at least 1")
        self.loss = loss
        self.num_directions = num_directions

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two or more views of one batch."""
        if len(views) < 2:
            raise ValueError(f"views: got {len(views)}, wanted 2 or more for SIGReg")
        z = torch.stack([self.projector(self.represent(view)) for view in views])
        all_mean = all_mean_here()
        directions = random_directions(z.shape[2], self.num_directions, device=z.device, all_mean=all_mean)
        return self.loss(z, directions, all_mean=all_mean)


def sigreg(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    sigreg_weight: float = SIGREG_WEIGHT,
    num_directions: int = NUM_DIRECTIONS,
) -> SIGReg:
    """Build the method with the numbers of a recipe."""
    loss = partial(sigreg_loss, sigreg_weight=sigreg_weight)
    return SIGReg(backbone, head.build(num_features), loss, num_directions=num_directions)


def _check(z: Tensor, directions: Tensor, sigreg_weight: float) -> None:
    if z.ndim != 3 or z.shape[0] < 2:
        raise ValueError(f"z: got shape {tuple(z.shape)}, wanted (V, N, D) with at least 2 views")
    if directions.ndim != 2 or directions.shape[0] != z.shape[2]:
        raise ValueError(f"directions: got shape {tuple(directions.shape)}, wanted ({z.shape[2]}, M), one per column")
    if not 0 <= sigreg_weight <= 1:
        raise ValueError(f"sigreg_weight: got {sigreg_weight}, wanted a number from 0 to 1")


@functools.lru_cache(maxsize=1)
def _looked_at(world: Any) -> list[bool]:
    return []


def _require_the_same(directions: Tensor) -> None:
    """See in the first loss of a process group that all processes have the same directions: any others are wrong."""
    if num_processes() == 1 or (looked := _looked_at(dist.group.WORLD)):
        return
    looked.append(True)
    sums = numbers_of_all(int(directions.detach().cpu().double().sum().mul(1e6)))
    if max(sums) != min(sums):
        raise ValueError(
            "directions: got others on other processes, wanted the same on all: barlow.SIGRegLoss draws them so"
        )
