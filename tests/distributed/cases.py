"""The methods whose gradients are held against one process: a line each. Also their network and their data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn

from barlow.correlation import Form
from barlow.methods.barlow_twins import BarlowTwins, Normalization, barlow_twins, barlow_twins_loss
from barlow.methods.method import Method
from barlow.networks.heads import HeadSpec

NUM_SAMPLES, SIDE, NUM_FEATURES = 24, 6, 10
SIZES = {2: (9, 15), 4: (4, 9, 5, 6)}
"""Samples of each of W processes: never the same number twice, and no shard repeats another's samples."""


@dataclass(frozen=True)
class Case:
    """A method and what it is fed.

    Attributes:
        build: backbone -> method.
        num_views: views of each sample.
        shards: SIZES, or the same number everywhere for a method that asks for it.
    """

    build: Callable[[nn.Module], Method]
    num_views: int = 2
    equal_shards: bool = False

    def sizes(self, world: int) -> tuple[int, ...]:
        return (NUM_SAMPLES // world,) * world if self.equal_shards else SIZES[world]


def backbone() -> nn.Module:
    """Convolution and BatchNorm over maps, Linear and BatchNorm over rows."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.Tanh(),  # smooth, so that rounding never moves a sample over an edge
        nn.Flatten(),
        nn.Linear(6 * 16, NUM_FEATURES),
        nn.BatchNorm1d(NUM_FEATURES, momentum=None),
    )


def views_of(case: Case, dtype: torch.dtype) -> list[Tensor]:
    """All samples, drawn around one centre each; scales and offsets differ a lot between the shards to come."""
    generator = torch.Generator().manual_seed(3)
    centre = torch.randn(NUM_SAMPLES, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    centre = centre * torch.linspace(0.5, 2, NUM_SAMPLES).view(-1, 1, 1, 1) + torch.linspace(-1, 1, NUM_SAMPLES).view(
        -1, 1, 1, 1
    )
    noise = torch.randn(case.num_views, *centre.shape, generator=generator, dtype=torch.float64)
    return [view.to(dtype) for view in (centre + 0.5 * noise).unbind(0)]


def built(case: Case, dtype: torch.dtype) -> Method:
    """The method with the same weights in every process."""
    torch.manual_seed(0)
    return case.build(backbone()).to(dtype).train()


def by(builder: Callable[..., Method], widths: str, **options: Any) -> Callable[[nn.Module], Method]:
    """A method as a recipe builds it."""
    return lambda network: builder(network, HeadSpec(widths), NUM_FEATURES, **options)


def twins(normalization: Normalization, form: Form, width: int) -> Callable[[nn.Module], Method]:
    """Barlow Twins with one of the two exchanges named."""
    loss = partial(barlow_twins_loss, redundancy_weight=0.05, normalization=normalization, form=form)
    return lambda network: BarlowTwins(network, nn.Linear(NUM_FEATURES, width), loss)


EXCHANGES: tuple[Form, ...] = ("direct", "gram")

CASES: dict[str, Case] = {
    **{
        f"barlow_twins {normalization} {form}": Case(twins(normalization, form, 3 if normalization == "whiten" else 32))
        for normalization in get_args(Normalization)
        for form in EXCHANGES
    },
    "barlow_twins": Case(by(barlow_twins, "16-32", redundancy_weight=0.05, normalization="pearson")),
}
