"""What an audit sees of a subject: K views of n samples, once through the network, in sums that can be merged.

The K views of the sums are i.i.d. draws of the first pipeline, for which the theory is exact. The pair a, b is drawn as
in training, one view of each pipeline, and is what the loss is taken from.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from barlow.audits.blocks import arranged
from barlow.audits.settings import FEWEST_IMAGES, AuditSettings
from barlow.audits.subjects import Networks, Subject
from barlow.runs.evidence import spread
from barlow.seams import Source, View, Views, is_shared
from barlow.theory.moments import Moments
from barlow.theory.null_edge import NUM_DRAWS, SignFlips
from barlow.training.progress import Progress

MOST_IMAGES = 8192
BATCH_SIZE = 128
TIMED_IMAGES, TIMED_PASSES, TIMED_SHARE = 32, 3, 0.05
"""The speed is that of the fastest of three small passes, of fewer where they take a twentieth of the time."""
SUMS_BYTES = 1 << 30
"""Largest memory of the sums; wide features get fewer blocks."""
MOST_BLOCKS, FEWEST_BLOCKS = 20, 4
CHECKED_IMAGES = 32
"""Samples on which a network is checked to be a function of one sample, before the passes that would be spoilt."""


@dataclass(frozen=True)
class Observation:
    """Features of n samples, of view a and b as well as of all K views.

    Attributes:
        moments: sums over samples and K views of h.
        h: (n, d) of the plain samples; None where only views exist.
        z_a: (n, D); None without a projector, as z_b.
        h_views: (n, K, d) of every view, where something is to be fitted on them; else None.
        num_forwards: views that went through the network, those of all samples together.
        seconds: how long that took.
        by_batch: whether the batch is the block that errors are over, and row i of batch i mod G.
        flips: the same samples with random signs, for the null edge.
        dtype: number format of h, whose rounding is no direction.
        work: multiplications that the replicates of one figure may take, if fewer than usual.
    """

    moments: Moments
    h: Float[Tensor, "n d"] | None
    h_a: Float[Tensor, "n d"]
    h_b: Float[Tensor, "n d"]
    z_a: Float[Tensor, "n p"] | None
    z_b: Float[Tensor, "n p"] | None
    num_views: int
    h_views: Float[Tensor, "n k d"] | None = None
    num_forwards: int = 0
    seconds: float = 0.0
    flips: SignFlips | None = None
    dtype: torch.dtype = torch.float32
    work: float = math.inf
    by_batch: bool = False

    def pairs(self, most: int) -> Tensor:
        """Return the rows of at most `most` samples, evenly spread, or as many of each batch."""
        n = len(self.h_a)
        if self.by_batch:
            return torch.arange(min(n, most // self.moments.num_blocks * self.moments.num_blocks))
        return torch.linspace(0, n - 1, min(n, most)).long()

    @property
    def slots(self) -> Float[Tensor, "n k d"]:
        """The views of each sample by their place: all of features that exist, the pair a, b of a network."""
        if self.h is None and self.h_views is not None:
            return self.h_views
        return torch.stack([self.h_a, self.h_b], dim=1)

    @property
    def each_sample(self) -> Float[Tensor, "n m"]:
        """What tells samples apart: h of the plain sample, or two views where only views exist."""
        return self.slots[:, :2].flatten(1) if self.h is None else self.h

    def forwards_within(self, seconds: float) -> float:
        """Return how many views go through the network in `seconds`, by what these took."""
        return self.num_forwards * seconds / self.seconds if self.seconds > 0 else math.inf


@torch.inference_mode()
def observe(
    networks: Networks,
    source: Source,
    views: Views,
    *,
    num_images: int,
    num_views: int = AuditSettings.num_views,
    seed: int = 0,
    keep_views: bool = False,
    seconds: float = AuditSettings.seconds,
    progress: Progress | None = None,
) -> Observation:
    """Put samples, evenly spread, and their views through the networks, which are in evaluation mode.

    Of more than two pipelines the first two count. `keep_views` keeps the features of every view, n K d numbers;
    `seconds` is that of the settings, see `num_blocks`.
    """
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    moments: Moments | None = None
    flips: SignFlips | None = None
    kept: dict[str, list[Tensor]] = {name: [] for name in ("h", "h_a", "h_b", "views")}
    first, *others = set_apart(views)
    done = 0
    plan = arranged(source, first, num_images, BATCH_SIZE)
    for number, batch in enumerate(source.batches(plan.order, plan.batch_size)):
        samples = views.prepare(batch.samples)
        drawn = [_drawn(networks.backbone, first, samples, generator) for _ in range(num_views)]
        h_views = torch.stack(drawn, dim=1)
        moments = moments or Moments(h_views.shape[2], num_blocks=plan.blocks(num_blocks(h_views.shape[2], seconds)))
        flips = flips or sign_flips(h_views.shape[2], seconds)
        flips.add(h_views)
        # The block of the i-th sample is i mod G, as in the figures of pairs; or that of its batch.
        moments.add(h_views, torch.full((len(h_views),), number) if plan.by_batch else None)
        kept["h"].append(features_of(networks.backbone, views.plain(samples)))
        kept["h_a"].append(h_views[:, 0])
        if keep_views:
            kept["views"].append(h_views)
        other = _drawn(networks.backbone, others[0], samples, generator) if others else h_views[:, 1]
        kept["h_b"].append(other)
        done += len(h_views)
        if progress:
            progress.update(done)
    if moments is None:
        raise ValueError("source: no sample could be read")
    whole = {name: plan.rows(torch.cat(rows), moments.num_blocks) for name, rows in kept.items() if rows}
    z_a, z_b = (
        None if networks.projector is None else project(networks.projector, whole[name]) for name in ("h_a", "h_b")
    )
    return Observation(
        moments, whole["h"], whole["h_a"], whole["h_b"], z_a, z_b, num_views, whole.get("views"),
        num_forwards=done * forwards_per_image(views, num_views), seconds=time.perf_counter() - started,
        flips=flips, by_batch=plan.by_batch,
    )  # fmt: skip


def features_that_fit(features: Float[Tensor, "n k d"], seconds: float, *, whole: float) -> int:
    """Return of how many samples with features the sums take so many seconds, `FEWEST_IMAGES` at least."""
    n, k, _ = features.shape
    each = k * seconds_of_sums(features[:TIMED_IMAGES], whole) if k > 1 else 0.0
    return n if each <= 0 else min(n, max(FEWEST_IMAGES, int(seconds / each)))


def observation_of_features(features: Float[Tensor, "n k d"], seconds: float = AuditSettings.seconds) -> Observation:
    """Take features that exist already: K views of n samples, at least 2."""
    n, k, d = features.shape
    if k < 2 or n < 2 * FEWEST_BLOCKS:
        raise ValueError(f"features: got {n} samples with {k} views, wanted at least {2 * FEWEST_BLOCKS} with 2")
    moments = Moments(d, num_blocks=min(num_blocks(d, seconds), n // 2))  # a B of its own takes two
    flips = sign_flips(d, seconds)
    moments.add(features)
    flips.add(features)
    h_a, h_b = features[:, 0].float(), features[:, 1].float()
    return Observation(
        moments, None, h_a, h_b, None, None, k, h_views=features.float(), flips=flips, dtype=features.dtype
    )


def sign_flips(num_features: int, seconds: float = AuditSettings.seconds) -> SignFlips:
    """Return the sums for the null edge: eight draws, fewer where they would take too much memory or time."""
    fitting = min(SUMS_BYTES // 4 // (8 * num_features**2), int(NUM_DRAWS * seconds / AuditSettings.seconds))
    return SignFlips(num_features, num_draws=max(3, min(NUM_DRAWS, fitting)))


def num_blocks(num_features: int, seconds: float = AuditSettings.seconds) -> int:
    """Return the number of blocks of samples: 20, fewer where their sums would take too much memory.

    Every block costs some eigendecompositions, whatever the number of samples: with less than the usual time there are
    fewer in proportion, and errors are less well known. The time that was asked for decides, not one that was measured.
    """
    usual = min(MOST_BLOCKS, SUMS_BYTES // (16 * num_features**2))
    return max(FEWEST_BLOCKS, int(usual * min(1.0, seconds / AuditSettings.seconds)))


@torch.inference_mode()
def project(projector: nn.Module, h: Float[Tensor, "n d"]) -> Float[Tensor, "n p"]:
    """Return z = p(h), in pieces."""
    return torch.cat([projector(part).float().cpu() for part in h.split(1024)])


@torch.inference_mode()
def seconds_per_view(subject: Subject, seconds: float, *, whole: float = AuditSettings.seconds) -> float:
    """Return what one view of a sample takes, by the fastest of small passes of which `seconds` allow one to three.

    With its part in the sums, which of wide features take longer than a small network; `whole` is the audit's time.
    """
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        raise ValueError(f"subject: {subject.name} has no network to time")
    batch = next(source.batches(spread(len(source), TIMED_IMAGES), TIMED_IMAGES))
    generator = torch.Generator().manual_seed(0)
    times: list[float] = []
    while len(times) < TIMED_PASSES and sum(times) <= TIMED_SHARE * seconds:
        started = time.perf_counter()
        h = _drawn(trained.backbone, views.studied, views.prepare(batch.samples), generator)
        times.append(time.perf_counter() - started)
    return min(times) / len(batch.indices) + seconds_of_sums(h[:, None].expand(-1, AuditSettings.num_views, -1), whole)


def seconds_of_sums(h_views: Float[Tensor, "n k d"], whole: float) -> float:
    """Return what the sums of an audit take for one view, by the second of two passes: the first finds the memory."""
    moments, flips = Moments(h_views.shape[2], num_blocks=1), sign_flips(h_views.shape[2], whole)
    for _ in range(2):
        started = time.perf_counter()
        moments.add(h_views)
        flips.add(h_views)
    return (time.perf_counter() - started) / (h_views.shape[0] * h_views.shape[1])


def images_that_fit(
    subject: Subject, *, seconds: float, num_views: int, most: int = MOST_IMAGES, each: float | None = None
) -> int:
    """Return how many samples `observe` takes through the network in so many seconds, `FEWEST_IMAGES` to `most`.

    `each` is what a view takes, measured where it is not given.
    """
    if subject.source is None or subject.views is None:
        raise ValueError(f"subject: {subject.name} has no network to time")
    if is_shared(subject.views.studied):  # a pass takes as long for any number of samples
        return min(len(subject.source), most)
    each = seconds_per_view(subject, seconds) if each is None else each
    fitting = int(seconds / (each * forwards_per_image(subject.views, num_views))) if each > 0 else most
    return min(len(subject.source), max(FEWEST_IMAGES, min(most, fitting)))


def views_that_fit(subject: Subject, *, seconds: float, num_views: int, each: float) -> int:
    """Return how many views of the fewest samples fit into so many seconds, from 2 to the number that was asked for."""
    if subject.views is None or each <= 0:
        return num_views
    others = forwards_per_image(subject.views, 0)
    return max(2, min(num_views, int(seconds / (each * FEWEST_IMAGES)) - others))


def forwards_per_image(views: Views, num_views: int) -> int:
    """Return how many views of a sample `observe` takes: K, the plain one, and b where its pipeline is another."""
    return num_views + (2 if len(set_apart(views)) > 1 else 1)


def set_apart(views: Views) -> tuple[View, ...]:
    """Return the pipelines of a and b, the studied one first: one where both are drawn the same way, else two."""
    first, second = views.studied, views.pipelines[0 if views.studied_at else min(1, len(views.pipelines) - 1)]
    return (first,) if first == second else (first, second)


def _drawn(backbone: Callable[[Any], Tensor], view: View, samples: Any, generator: torch.Generator) -> Tensor:
    return features_of(backbone, view.apply(samples, view.sample(samples, generator)))


def features_of(backbone: Callable[[Any], Tensor], view: Any) -> Float[Tensor, "n d"]:
    """Return h of a view, in float32 on the CPU; a network that returns anything but (n, d) is refused."""
    h = backbone(view)
    if not isinstance(h, Tensor) or h.ndim != 2:
        shape = tuple(h.shape) if isinstance(h, Tensor) else type(h).__name__
        raise ValueError(f"target: returns {shape}, wanted features of shape (n, d)")
    return h.detach().float().cpu()


# --- Networks that are no function of one sample: in training mode, with BatchNorm of the batch, or left to chance.


@contextmanager
def evaluation_mode(subject: Subject) -> Iterator[list[str]]:
    """Put the networks of a subject into evaluation mode while the context lasts, and then back as they were.

    Yields warnings about what was in training mode. There a forward pass would also change the networks: BatchNorm
    moves its statistics.
    """
    modes: dict[nn.Module, bool] = {}
    warned = []
    for what, network in _networks(subject):
        found = {module: module.training for module in network.modules()}
        if any(found.values()):
            warned.append(
                f"the {what} was in training mode: it was audited in evaluation mode, because BatchNorm and dropout "
                "would distort every figure"
            )
        modes |= found
    for module in modes:
        module.training = False
    try:
        yield warned
    finally:
        for module, mode in modes.items():
            module.training = mode


def _networks(subject: Subject) -> list[tuple[str, nn.Module]]:
    """What of a subject is known to be a module; a method of one, such as `forward_features`, is as well."""
    if subject.trained is None:
        return []
    owners = (("network", subject.trained.backbone), ("projector", subject.trained.projector))
    known = ((what, getattr(owner, "__self__", owner)) for what, owner in owners)
    return [(what, owner) for what, owner in known if isinstance(owner, nn.Module)]


@torch.inference_mode()
def misbehaviour(subject: Subject) -> list[str]:
    """Return warnings about networks that are no function of one sample: BatchNorm of the batch, dropout, chance."""
    trained, source, views = subject.trained, subject.source, subject.views
    if trained is None or source is None or views is None:
        return []
    batch = next(source.batches(spread(len(source), CHECKED_IMAGES), CHECKED_IMAGES))
    x = views.plain(batch.samples)
    h, again, half = (features_of(trained.backbone, part) for part in (x, x, x[: len(x) // 2]))
    found = _of_one_image("network", "samples", h, again, half)
    if trained.projector is not None and not found:
        z, again, half = (project(trained.projector, part) for part in (h, h, h[: len(h) // 2]))
        found = _of_one_image("projector", "features", z, again, half)
    return found


def _of_one_image(what: str, given: str, whole: Tensor, again: Tensor, half: Tensor) -> list[str]:
    scale = float(whole.std()) or 1.0
    if float((whole - again).abs().max()) > 1e-3 * scale:
        return [f"the {what} gives other outputs for the same {given}: its chance counts as augmentation here"]
    if float((whole[: len(half)] - half).abs().max()) > 1e-2 * scale:
        return [f"the {what}'s outputs for a sample depend on the others of its batch: BatchNorm without statistics?"]
    return []
