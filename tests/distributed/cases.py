"""The methods whose gradients are held against one process: a line each. Also their network and their data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from barlow.images.views.located import LocatedView
from barlow.methods.barlow_twins import Normalization, barlow_twins, barlow_twins_loss
from barlow.methods.byol import byol
from barlow.methods.cca_ssg import cca_ssg
from barlow.methods.forward import TwoViews
from barlow.methods.heads import HeadSpec
from barlow.methods.optimal_projector import optimal_projector
from barlow.methods.sigreg import sigreg
from barlow.methods.simclr import simclr
from barlow.methods.simsiam import simsiam
from barlow.methods.speakers import Speakers
from barlow.methods.swav import swav
from barlow.methods.vicreg import vicreg
from barlow.methods.vicregl import vicregl
from barlow.methods.wmse import wmse
from barlow.seams import Method, Terms
from barlow.statistics.correlation import Form
from barlow.training.sync_batch_norm import synchronise_batch_norms

NUM_SAMPLES, SIDE, NUM_FEATURES = 24, 6, 6
SIZES = {2: (9, 15), 4: (4, 9, 5, 6)}
"""Samples of each of W processes: never the same number twice, and no shard repeats another's samples."""


@dataclass(frozen=True)
class Case:
    """A method and what it is fed.

    Attributes:
        build: backbone -> method.
        num_views: views of each sample.
        located: whether views carry their place.
        cut: told the method and the sizes of the shards that its process holds; for a loss that never looks
            beyond a shard, so that one process has to be told of the shards.
    """

    build: Callable[[nn.Module], Method]
    num_views: int = 2
    located: bool = False
    cut: Callable[[Any, Sequence[int]], None] = lambda method, sizes: None


def backbone() -> nn.Module:
    """BatchNorm over maps and over rows; its features are the mean of its last maps."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Tanh(),  # smooth, so that rounding never moves a sample over an edge
        nn.Conv2d(4, NUM_FEATURES, 2),
        nn.BatchNorm2d(NUM_FEATURES, momentum=None),
        nn.Softplus(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def views_of(case: Case, dtype: torch.dtype) -> list[Any]:
    """Views of all samples, drawn around one centre each; scales and offsets drift from the first to the last."""
    generator = torch.Generator().manual_seed(3)
    centre = torch.randn(NUM_SAMPLES, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    drift = torch.linspace(0, 1, NUM_SAMPLES, dtype=torch.float64).view(-1, 1, 1, 1)
    centre = centre * (0.5 + drift) + drift
    noise = torch.randn(case.num_views, *centre.shape, generator=generator, dtype=torch.float64)
    views = [view.to(dtype) for view in (centre + 0.5 * noise).unbind(0)]
    if not case.located:
        return views
    corners = torch.rand(case.num_views, NUM_SAMPLES, 4, generator=generator).to(dtype) / 2
    flipped = torch.rand(case.num_views, NUM_SAMPLES, generator=generator) < 0.5
    return [LocatedView(*view) for view in zip(views, corners, flipped, strict=True)]


def shard_of(view: Any, sizes: Sequence[int], rank: int) -> Any:
    """The rows of one process."""
    if isinstance(view, Tensor):
        return view.split(list(sizes))[rank]
    return LocatedView(*(part.split(list(sizes))[rank] for part in view))


def by(builder: Callable[..., Method], widths: str, **options: Any) -> Callable[[nn.Module], Method]:
    """A method as a recipe builds it."""
    return lambda network: builder(network, HeadSpec(widths), NUM_FEATURES, **options)


def twins(normalization: Normalization, form: Form, width: int) -> Callable[[nn.Module], Method]:
    """Barlow Twins with one of the two exchanges named."""
    loss = partial(barlow_twins_loss, redundancy_weight=0.05, normalization=normalization, form=form)
    return lambda network: TwoViews(network, nn.Linear(NUM_FEATURES, width), loss)


def whiten_shards(method: Any, sizes: Sequence[int]) -> None:
    """W-MSE whitens within a process, so one process with all samples is told to whiten shard by shard."""
    method.loss = partial(method.loss, sub_batches=list(torch.arange(sum(sizes)).split(list(sizes))))


class LabelledByLoudness(Speakers):
    """Speakers told by how loud their first view is, so that every shard knows its labels; the middle has none."""

    def forward(self, views: Sequence[Any], labels: Tensor | None = None) -> Terms:
        loudness = views[0].flatten(1).mean(dim=1)
        found = (loudness > 0).long() + (loudness > 0.8).long()
        return super().forward(views, torch.where((loudness - 0.4).abs() < 0.1, -torch.ones_like(found), found))


LabelledByLoudness.__module__ = Speakers.__module__  # whose answers about processes are the ones to break


class OfficialCode(Method):
    """What the official Barlow Twins code does: C is added up in place, behind autograd's back."""

    def forward(self, views: Sequence[Any]) -> Terms:
        norm = nn.BatchNorm1d(32, affine=False).to(views[0].dtype)
        synchronise_batch_norms(norm)
        z_a, z_b = (norm(self.projector(self.represent(view))) for view in views)
        c = z_a.T @ z_b / NUM_SAMPLES
        if dist.is_initialized():
            dist.all_reduce(c)
        on_diagonal = (c.diagonal() - 1).square().sum()
        return Terms(on_diagonal + 0.05 * (c.square().sum() - c.diagonal().square().sum()))


OFFICIAL_CODE = Case(lambda network: OfficialCode(network, nn.Linear(NUM_FEATURES, 32)))

EXCHANGES: tuple[Form, ...] = ("direct", "gram")

CASES: dict[str, Case] = {
    **{
        f"barlow_twins {normalization} {form}": Case(twins(normalization, form, 3 if normalization == "whiten" else 32))
        for normalization in get_args(Normalization)
        for form in EXCHANGES
    },
    "barlow_twins": Case(by(barlow_twins, "16-32", redundancy_weight=0.05, normalization="pearson")),
    "barlow_twins without bias": Case(
        by(barlow_twins, "16-32", redundancy_weight=0.05, normalization="pearson", bias="removed")
    ),
    "simclr": Case(by(simclr, "16-8")),
    "swav": Case(by(swav, "16-8", num_prototypes=7), num_views=4),
    "swav with queue": Case(by(swav, "16-8", num_prototypes=7, queue_length=NUM_SAMPLES, queue_start=0.0)),
    "simsiam": Case(by(simsiam, "16-8")),
    "vicreg below N = D": Case(by(vicreg, "16-32")),
    "vicreg above N = D": Case(by(vicreg, "16-8")),
    "vicregl": Case(by(vicregl, "16-8", local_projector="16-8", matches=3, feature_matches=3), located=True),
    "wmse": Case(by(wmse, "linear-2", w_size=3), num_views=3, cut=whiten_shards),
    "optimal_projector": Case(by(optimal_projector, "none")),
    "byol": Case(by(byol, "16-8", predictor_width=16)),
    "cca_ssg": Case(by(cca_ssg, "16-8")),
    "sigreg": Case(by(sigreg, "16-8", num_directions=16)),
    "speakers": Case(by(LabelledByLoudness, "16-8", num_classes=3, agreement_weight=1.0, redundancy_weight=0.05)),
    "speakers, pairs": Case(
        by(LabelledByLoudness, "none", num_classes=3, classifier="aam", agreement_weight=1.0, pairs="same_speaker")
    ),
}
