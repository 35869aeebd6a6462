"""What the page shows besides curves: views, neighbours, the correlation matrix of a large sample, the spectrum.

Also the label-free figures, which the loop takes during training and the summary at the end.
"""

import base64
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from barlow.evaluation.budget import round_down
from barlow.evaluation.features import Features, KeptFeatures, extract
from barlow.evaluation.knn import knn_accuracy
from barlow.evaluation.scores import CALIBRATION_SAMPLES
from barlow.formats import printable
from barlow.runs.training_data import look_through
from barlow.seams import Audible, Source, Views, is_shared
from barlow.statistics.correlation import standardize
from barlow.theory.intraclass import cross_fit_correlations, intraclass_correlations, num_above_edge
from barlow.theory.moments import Moments
from barlow.theory.spectrum import covariance_eigenvalues, effective_rank, rounding_variance

PROBE_SAMPLES = 1024
"""Samples behind the figures during training: enough for an effective rank of a few hundred, seconds on a CPU."""
PROBE_DIRECTIONS = 128
"""Directions of T that the probe's correlations are taken from: an eighth of its samples, so that chance is small."""
PROBE_NEIGHBOURS = 10
"""Neighbours that vote during training; the probe has few samples, so fewer than the usual 200."""
FEWEST_LABELLED = 3
"""Labelled samples without which no neighbour can be asked for its class."""
CORRELATION_SAMPLES = 8192
"""Samples behind the correlation matrix of the page: chance correlations are then 1/sqrt(8191) = 0.011."""
BLOCK = 64
"""Features of the corner of C that is drawn."""
MOMENT_SAMPLES, MOMENT_FEATURES, MOMENTS = 512, 32, 30
"""Samples and features of the small C of a moment of training, and how many moments a run keeps: 40 kB of journal."""
STRIP = 8
LEAST, TIMED = 128, 64
"""Samples that every figure has, however slow the network is, and samples by which that is measured."""
NEIGHBOUR_QUERIES, NEIGHBOURS, NEIGHBOUR_POOL = 6, 6, 5000
EDGES = np.linspace(-1.0, 1.0, 401)
"""Bins of the off-diagonal histogram."""
EVIDENCE_SEED = 20240501
"""Seed of the views that the figures are taken from: the same for every run."""


@dataclass(frozen=True)
class Amounts:
    """Samples behind what the summary and the page show beside the probes.

    Attributes:
        calibration: behind the BatchNorm statistics of the untrained network.
        figures: behind the label-free figures at the end.
        correlation: behind the correlation matrix and the spectrum.
        neighbours: among which neighbours are looked for.
    """

    calibration: int = CALIBRATION_SAMPLES
    figures: int = PROBE_SAMPLES
    correlation: int = CORRELATION_SAMPLES
    neighbours: int = NEIGHBOUR_POOL


def amounts_within(seconds: float, per_sample: float, num_samples: int, num_held_out: int) -> tuple[Amounts, float]:
    """Return the usual amounts, or all in the same proportion as many as take so many seconds, at least `LEAST`.

    Also the seconds that they are expected to take. `per_sample` is of one forward pass. Figures take a plain sample
    and two views of each of two networks, the correlation matrix two views, and the spectra a plain sample of each.
    """
    usual = Amounts()
    forwards = min(usual.calibration, num_samples) + 6 * min(usual.figures, num_samples)
    forwards += 4 * min(usual.correlation, num_held_out) + min(usual.neighbours, num_samples)
    share = seconds / max(forwards * per_sample, 1e-9)
    if share >= 1:
        return usual, seconds / share
    within = {one.name: max(LEAST, round_down(share * getattr(usual, one.name))) for one in fields(Amounts)}
    return Amounts(**within), seconds


def seconds_per_sample(represent: Callable[[Any], Tensor], source: Source, views: Views) -> float:
    """Return what a view of one sample takes, the faster of two small batches after a first one."""
    generator, times = torch.Generator().manual_seed(EVIDENCE_SEED), []
    number = PROBE_SAMPLES if _at_once(views, TIMED) == TIMED else TIMED  # of a whole graph a pass costs the same
    with torch.inference_mode():
        for _ in range(3):
            started = time.perf_counter()
            batch = next(source.batches(spread(len(source), number), number))
            samples = views.prepare(batch.samples)
            represent(views.studied.apply(samples, views.studied.sample(samples, generator))).cpu()
            times.append((time.perf_counter() - started) / len(batch.indices))
    return min(times[1:])


@torch.inference_mode()
def label_free_figures(
    represent: Callable[[Any], Tensor],
    source: Source,
    views: Views,
    limit: Callable[[Tensor], float] | None = None,
    *,
    most: int = PROBE_SAMPLES,
) -> dict[str, float]:
    """Return the figures of an audit that are cheap enough for the loop, from the same sums over images and views.

    `most` samples, evenly spread, are used, and the first of the views is drawn twice. `limit` maps
    correlations to the least loss of a linear projector on them, see `loss_floor.backbone_limit`. Figures:
    "effective_rank"; "invariance_share" tr B / tr T; of the leading `PROBE_DIRECTIONS` of T "mean_correlation" and
    "directions_above_chance"; with `limit` also "backbone_limit". Few images and two views: read them as curves, and
    take numbers from `barlow.audit`.
    """
    generator = torch.Generator().manual_seed(EVIDENCE_SEED)
    plain: list[Tensor] = []
    moments: Moments | None = None
    for batch in source.batches(spread(len(source), most), _at_once(views, most)):
        samples = views.prepare(batch.samples)
        plain.append(represent(views.plain(samples)).float().cpu())
        drawn = [views.studied.apply(samples, views.studied.sample(samples, generator)) for _ in range(2)]
        h_views = torch.stack([represent(view).float().cpu() for view in drawn], dim=1)
        moments = moments or Moments(h_views.shape[2], num_blocks=2)
        moments.add(h_views)
    if moments is None:
        raise ValueError("source: none of the samples for the figures could be read")
    rank = effective_rank(covariance_eigenvalues(torch.cat(plain)))
    return {"effective_rank": rank, **_invariance(moments, limit)}


def _at_once(views: Views, samples: int) -> int:
    """Samples in a batch: all of them where a view is of the whole batch, and a pass costs the same for any number."""
    return max(1, samples) if any(map(is_shared, views.pipelines)) else 256


def _invariance(moments: Moments, limit: Callable[[Tensor], float] | None) -> dict[str, float]:
    """Figures of B, W and T; zeros for features without variance: collapsed, so nothing of them is the image."""
    whole = moments.covariances()
    trace = whole.total.trace()
    if trace <= rounding_variance(torch.float32, whole.mean):
        return {"invariance_share": 0.0, "mean_correlation": 0.0, "directions_above_chance": 0.0}
    leading = torch.linalg.eigh(whole.total).eigenvectors[:, -PROBE_DIRECTIONS:].T
    inside = whole.projected(leading)
    spectrum = intraclass_correlations(inside.between, inside.total)
    found = {
        "invariance_share": float(whole.between.trace() / trace),
        "mean_correlation": float(spectrum.clipped.mean()),
        "directions_above_chance": float(num_above_edge(spectrum.correlations, inside.num_images, inside.num_views)),
    }
    if limit is not None and min(moments.block_sizes) > 1:  # a variance takes two, in either half
        crossed = cross_fit_correlations(*(half.projected(leading) for half in moments.halves())).clamp(0, 1)
        found["backbone_limit"] = (limit(spectrum.clipped) + limit(crossed)) / 2  # the middle of the bracket
    return found


def figures_during_training(
    represent: Callable[[Any], Tensor], source: Source, views: Views, limit: Callable[[Tensor], float] | None = None
) -> Callable[[int], dict[str, float]]:
    """Return the probe of the loop: label-free figures, and where labels exist the accuracy of nearest neighbours.

    The neighbours of a third of the probe's samples are looked up among the other two thirds; all of them are
    training samples, so no test label is touched.
    """
    labels = source.labels
    labelled = torch.empty(0) if labels is None else (labels >= 0).nonzero()[:, 0]

    def figures(step: int) -> dict[str, float]:
        found = label_free_figures(represent, source, views, limit)
        if labels is not None and len(labelled) >= FEWEST_LABELLED:
            order = labelled[spread(len(labelled), PROBE_SAMPLES)].tolist()
            known = extract(represent, source, plain=views.plain, order=order)
            h, y = known.h, labels[known.indices]
            asked = torch.arange(len(h)) % 3 == 0
            found["knn_accuracy"] = knn_accuracy(
                h[~asked], y[~asked], h[asked], y[asked], num_neighbours=PROBE_NEIGHBOURS
            )
        return found

    return figures


def spread(num_samples: int, most: int) -> list[int]:
    """Return at most `most` positions, evenly spread, in a fixed random order so that classes are mixed."""
    order = torch.randperm(num_samples, generator=torch.Generator().manual_seed(EVIDENCE_SEED))
    return sorted(order[:most].tolist())


@torch.inference_mode()
def gather_evidence(
    represent: Callable[[Any], Tensor],
    project: Callable[[Tensor], Tensor],
    untrained: Callable[[Any], Tensor],
    source: Source,
    held_out: Source,
    views: Views,
    to_pixels: Callable[[Tensor], Tensor] | None,
    *,
    amounts: Amounts = Amounts(),
    kept: KeptFeatures | None = None,
) -> dict[str, NDArray[Any]]:
    """Collect the arrays of `evidence.npz`.

    `represent` (view -> h) and `project` (h -> z) are in evaluation mode, `untrained` is the network before training;
    `held_out` are samples that were not trained on, where there are any, else `source`. `to_pixels` maps a view to
    uint8 images (N, C, H, W); None where views are no images of 1 or 3 channels: no pictures then. `kept` are features
    that exist already.
    """
    order = spread(len(held_out), amounts.correlation)
    kept = kept or KeptFeatures()
    plain = kept.extract(represent, held_out, plain=views.plain, order=order)
    before = kept.extract(untrained, held_out, plain=views.plain, order=order)
    found: dict[str, NDArray[Any]] = {
        "eigenvalues": covariance_eigenvalues(plain.h).numpy(),
        "eigenvalues_untrained": covariance_eigenvalues(before.h).numpy(),
    }
    found |= _correlation(represent, project, held_out, views, order)
    pool = kept.extract(represent, source, plain=views.plain, order=spread(len(source), amounts.neighbours))
    pictured = None if to_pixels is None else partial(_picture, to_pixels)
    found |= look_through(represent, source, pool, views, pictured)
    return found | (_pictures(pool, source, views, to_pixels) if to_pixels else {})


def _picture(to_pixels: Callable[[Tensor], Tensor], view: Tensor) -> NDArray[Any]:
    return to_pixels(view).movedim(1, -1).cpu().numpy()


def _correlation(
    represent: Callable[[Any], Tensor],
    project: Callable[[Tensor], Tensor],
    source: Source,
    views: Views,
    order: list[int],
) -> dict[str, NDArray[Any]]:
    """The Pearson matrix of z over a large sample, in blocks of rows: diagonal, histogram of the rest, a corner."""
    generator = torch.Generator().manual_seed(EVIDENCE_SEED)
    projected: list[list[Tensor]] = [[], []]
    for batch in source.batches(order, _at_once(views, len(order))):
        for z, view in zip(projected, views.draw(batch.samples, generator)[:2], strict=True):
            z.append(project(represent(view)).float().cpu())
    z_a, z_b = (standardize(torch.cat(z)) for z in projected)
    num_samples, num_features = z_a.shape
    counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
    diagonal: list[Tensor] = []
    for start in range(0, num_features, 512):
        rows = z_a[:, start : start + 512].T @ z_b / num_samples
        own = torch.arange(len(rows))
        diagonal.append(rows[own, own + start].clone())
        rows[own, own + start] = torch.nan
        values = rows[~rows.isnan()].clamp(-1, 1).numpy()
        counts += np.histogram(values, EDGES)[0]
    corner = z_a[:, :BLOCK].T @ z_b[:, :BLOCK] / num_samples
    return {
        "correlation_diagonal": torch.cat(diagonal).numpy(),
        "offdiagonal_edges": EDGES,
        "offdiagonal_counts": counts,
        "correlation_num_samples": np.array(num_samples),
        "correlation_block": corner.numpy(),
    }


@torch.inference_mode()
def correlation_moment(
    represent: Callable[[Any], Tensor], project: Callable[[Tensor], Tensor], source: Source, views: Views
) -> str:
    """Return a corner of C as text, for the journal: D' x D' bytes, 128 + 127 C_ij, compressed, in base 64.

    Of the first D' = min(D, `MOMENT_FEATURES`) features of z, over the same samples and the same draws at every moment;
    "" where views are of a whole batch, or z has no second feature. `report.run_folder.moments` reads it.
    """
    if any(map(is_shared, views.pipelines)):
        return ""
    generator = torch.Generator().manual_seed(EVIDENCE_SEED)
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for batch in source.batches(spread(len(source), MOMENT_SAMPLES), 256):
        for side, view in zip(sides, views.draw(batch.samples, generator)[:2], strict=True):
            side.append(project(represent(view)).float().cpu()[:, :MOMENT_FEATURES])
    if not sides[0] or sides[0][0].ndim != 2 or sides[0][0].shape[1] < 2:
        return ""
    z_a, z_b = (standardize(torch.cat(side)) for side in sides)
    corner = (z_a.T @ z_b / len(z_a)).nan_to_num().clamp(-1, 1)
    levels = (128 + 127 * corner).round().to(torch.uint8).numpy()
    return base64.b64encode(zlib.compress(levels.tobytes())).decode("ascii")


def _names(source: Source, positions: Tensor) -> NDArray[Any]:
    """What samples are called, in the shape of their positions."""
    flat = [printable(source.describe(int(position))) for position in positions.flatten()]
    return np.array(flat).reshape(positions.shape)


def _sound(player: Audible, samples: Any) -> NDArray[np.int16]:
    """What is heard of samples or views, in 16 bits."""
    return (32767 * player.waves(samples).clamp(-1, 1)).round().to(torch.int16).numpy()


def _pictures(
    pool: Features, source: Source, views: Views, to_pixels: Callable[[Tensor], Tensor]
) -> dict[str, NDArray[Any]]:
    """A strip of images as the network saw them, and the nearest neighbours of a few training images."""
    picture = partial(_picture, to_pixels)
    generator = torch.Generator().manual_seed(EVIDENCE_SEED)
    batch = next(source.batches(spread(len(source), STRIP), STRIP))
    strip = [views.plain(batch.samples), *views.draw(batch.samples, generator)[:2]]
    found = {name: picture(view) for name, view in zip(("originals", "views_a", "views_b"), strip, strict=True)}
    sounds: dict[str, NDArray[Any]] = {}
    if isinstance(to_pixels, Audible):
        played = zip(("originals", "views_a", "views_b"), [batch.samples, *strip[1:]], strict=True)
        sounds |= {f"{name}_sound": _sound(to_pixels, view) for name, view in played}
    h = nn.functional.normalize(pool.h)
    asked = torch.linspace(0, len(h) - 1, min(NEIGHBOUR_QUERIES, len(h))).long()
    similarity = h[asked] @ h.T
    similarity[torch.arange(len(asked)), asked] = -1.0
    nearest = similarity.topk(min(NEIGHBOURS, len(h) - 1))

    def pictures_at(positions: Tensor) -> NDArray[Any]:
        wanted = pool.indices[positions].tolist()
        return np.concatenate([picture(views.plain(b.samples)) for b in source.batches(wanted, len(wanted))])

    def sounds_at(positions: Tensor, player: Audible) -> NDArray[Any]:
        wanted = pool.indices[positions].tolist()
        return np.concatenate([_sound(player, b.samples) for b in source.batches(wanted, len(wanted))])

    rows = [pictures_at(row) for row in nearest.indices]
    if isinstance(to_pixels, Audible):
        sounds["sound_rate"] = np.array(to_pixels.rate)
        sounds["neighbour_queries_sound"] = sounds_at(asked, to_pixels)
        sounds["neighbour_images_sound"] = np.stack([sounds_at(row, to_pixels) for row in nearest.indices])
    return (
        found
        | sounds
        | {
            "neighbour_queries": pictures_at(asked),
            "neighbour_images": np.stack(rows),
            "neighbour_similarities": nearest.values.numpy(),
            "neighbour_query_names": _names(source, pool.indices[asked]),
            "neighbour_names": _names(source, pool.indices[nearest.indices]),
        }
    )
