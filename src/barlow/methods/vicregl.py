"""VICRegL (Bardes et al. 2022, arXiv 2210.01571): VICReg on whole images and on matched positions of their maps.

    L = alpha * global(e) + (1 - alpha) * local(m),      e = g(h) of shape (N, D),  m = g'(map) of shape (N, P, D')

Each position of a view is matched with the nearest position of the other view: by the distance of their embeddings,
and by the distance of their places in the image. The nearest of these matches are held together by VICReg's three
terms, slot by slot: the first kept position of all samples is one set of N embeddings, the second the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from barlow.errors import unknown
from barlow.methods.feature_map import final_pooling, with_feature_map
from barlow.methods.heads import HeadSpec
from barlow.methods.vicreg import (
    COVARIANCE_WEIGHT,
    INVARIANCE_WEIGHT,
    VARIANCE_WEIGHT,
    covariance,
    invariance,
    variance,
)
from barlow.seams import Method, Terms
from barlow.statistics.collectives import AllMean, all_mean_here, counted, mean_for
from barlow.statistics.correlation import exact_dtype

Flip = Literal["compensated", "official"]
ALPHA = 0.75
"""Weight of the global criterion in the official code; the paper also reports 0.9."""
MATCHES = (20, 4)
"""Location matches kept from view i to j and back (--num_matches). The paper means 20 for large and 4 for small
views; the official code goes by the direction instead, also between two large views. 0 keeps all."""
FEATURE_MATCHES = (0, 0)
"""The same by features: the official code keeps all (--l2_all_matches 1), the paper 20."""
WITHOUT_CDIST = ("mps",)
"""Devices on which torch has no `cdist` of batches (Apple's GPUs)."""
DIFFERENCES_AT_ONCE = 16
"""Features whose differences between all pairs of positions are there at the same time, where there is none."""
NUM_LARGE = 2
"""Every view is compared with each of the first two, which are the large ones."""


class Embeddings(NamedTuple):
    """What VICRegL's loss needs of one view.

    Attributes:
        whole: (N, D), one embedding per image.
        positions: (N, P, D'), one per position of the feature map.
        places: (N, P, 2), where in the image each position is, in one unit for both axes.
    """

    whole: Float[Tensor, "n d"]
    positions: Float[Tensor, "n p d2"]
    places: Float[Tensor, "n p 2"]


def vicregl_loss(
    views: Sequence[Embeddings],
    *,
    alpha: float = ALPHA,
    matches: tuple[int, int] = MATCHES,
    feature_matches: tuple[int, int] = FEATURE_MATCHES,
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    all_mean: AllMean | None = None,
) -> Terms:
    """Weigh VICReg of whole images against VICReg of matched positions.

    With (i, j) over all ordered pairs of views whose first is large, and lambda, mu, nu as in VICReg:

        global = lambda mean_(i,j) s(e_i, e_j) + mean_i [mu v(e_i) + nu c(e_i)]
        local  = mean_(i,j) 1/2 [l(i -> j) + l(j -> i)], by features plus by location
        l      = lambda s(X, Y) + 1/2 [mu v(X) + mu v(Y) + nu c(X) + nu c(Y)]     for matched positions X, Y

    The means halve the covariance term beside VICReg's, as in the official code.

    Args:
        views: at least two; the first two are large.
        alpha: weight of the global criterion, from 0 to 1.
        matches: location matches kept from i to j and from j to i; 0, or more than there are positions: all.
        feature_matches: the same for matches by features.
        invariance_weight: lambda.
        variance_weight: mu.
        covariance_weight: nu.
        all_mean: mean over the samples of all processes; None: those of torch.distributed's default group, where there
            is one, and `barlow.identity` for this process alone; one of your own has to
            tell N: `barlow.MeanOver`.

    Returns:
        Terms with the six parts "global_invariance", "global_variance", ..., "local_covariance", weighted, that
        add up to the total.

    Raises:
        ValueError: fewer than two views, alpha outside [0, 1], a negative weight or number of matches, a bare
            `all_mean` of one's own.

    Source: equations 1 to 5 of the paper; main_vicregl.py, whose flag --fast-vc-reg (off) is left out.
    """
    weights = (invariance_weight, variance_weight, covariance_weight)
    _check(len(views), alpha, weights, (*matches, *feature_matches))
    all_mean = counted(len(views[0].whole), mean_for(views[0].whole, all_mean))
    parts = {}
    for scope, share, terms in (
        ("global", alpha, _global_terms([view.whole for view in views], all_mean)),
        ("local", 1 - alpha, _local_terms(views, matches, feature_matches, all_mean)),
    ):
        for name, weight, term in zip(("invariance", "variance", "covariance"), weights, terms, strict=True):
            parts[f"{scope}_{name}"] = share * weight * term
    return Terms(torch.stack(list(parts.values())).sum(), parts)


def _global_terms(whole: Sequence[Tensor], all_mean: AllMean) -> tuple[Tensor, Tensor, Tensor]:
    """Means of s over the pairs of views, of v and c over the views."""
    s = [invariance(whole[i], whole[j], all_mean=all_mean) for i, j in _pairs(len(whole))]
    v = [variance(z, all_mean=all_mean) for z in whole]
    c = [covariance(z, all_mean=all_mean) for z in whole]
    return torch.stack(s).mean(), torch.stack(v).mean(), torch.stack(c).mean()


def _local_terms(
    views: Sequence[Embeddings], matches: tuple[int, int], feature_matches: tuple[int, int], all_mean: AllMean
) -> tuple[Tensor, Tensor, Tensor]:
    """s, v and c of matched positions, by features plus by location, over the pairs of views."""
    terms = []
    for by_features, most in ((True, feature_matches), (False, matches)):
        for (i, j, g), weight in _directions(len(views), most).items():
            a, b = views[i], views[j]
            kept, partner = (
                matches_by_features(a.positions, b.positions, g)
                if by_features
                else matches_by_place(a.places, b.places, g)
            )
            x, y = at(a.positions, kept), at(b.positions, partner)
            v = (variance(x, all_mean=all_mean) + variance(y, all_mean=all_mean)) / 2
            c = (covariance(x, all_mean=all_mean) + covariance(y, all_mean=all_mean)) / 2
            terms.append(weight * torch.stack([invariance(x, y, all_mean=all_mean), v, c]))
    s, v, c = torch.stack(terms).sum(dim=0)
    return s, v, c


def _pairs(num_views: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(NUM_LARGE) for j in range(num_views) if j != i)


def _directions(num_views: int, kept: tuple[int, int]) -> dict[tuple[int, int, int], float]:
    """Return (from, to, matches) -> weight: each pair both ways. Ways that several pairs take are computed once."""
    ways = [way for i, j in _pairs(num_views) for way in ((i, j, kept[0]), (j, i, kept[1]))]
    counts: dict[tuple[int, int, int], int] = {}  # by hand: torch.compile of torch 2.5 can trace no Counter
    for way in ways:
        counts[way] = counts.get(way, 0) + 1
    return {way: count / len(ways) for way, count in counts.items()}


def _check(num_views: int, alpha: float, weights: Sequence[float], matches: Sequence[int]) -> None:
    if num_views < NUM_LARGE:
        raise ValueError(f"views: got {num_views}, wanted at least {NUM_LARGE} for VICRegL")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: got {alpha}, wanted a number from 0 to 1")
    if min(weights) < 0:
        raise ValueError(f"invariance_weight, variance_weight, covariance_weight: got {weights}, wanted 0 or more")
    if min(matches) < 0:
        raise ValueError(f"matches, feature_matches: got {tuple(matches)}, wanted 0 (all) or more")


# --- Matching: which position of one view's feature map belongs to which of another's, by features or by place.
#
#     partner(p) = argmin_q distance(p, q),     kept: the positions p that are nearest to their partners
#
# Source: section 3.2 of the paper, and the official code, whose order of the kept positions matters: the first kept
# position of every sample is the first slot, and statistics are taken slot by slot.


@torch.no_grad()
def matches_by_features(
    z_a: Float[Tensor, "n p d"], z_b: Float[Tensor, "n q d"], most: int
) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match positions by the Euclidean distance of their embeddings, in float32 also under autocast.

    `most` and the result as for `nearest_matches`.
    """
    dtype = exact_dtype(z_a)
    with torch.autocast(device_type=z_a.device.type, enabled=False):
        return nearest_matches(_distances(z_a.to(dtype), z_b.to(dtype)), most)


@torch.no_grad()
def matches_by_place(
    places_a: Float[Tensor, "n p 2"], places_b: Float[Tensor, "n q 2"], most: int
) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match positions by their distance in the image, in one unit for both axes.

    There is no limit to it: views that do not overlap match too. `most` and the result as for `nearest_matches`.
    """
    # Not by a matrix product: places that are equal have to be 0 apart.
    return nearest_matches(_distances(places_a, places_b, mode="donot_use_mm_for_euclid_dist"), most)


def _distances(
    a: Float[Tensor, "n p d"], b: Float[Tensor, "n q d"], mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Float[Tensor, "n p q"]:
    """Euclidean distances of all pairs; squared where a device has no function for them, which have the same order."""
    if a.device.type not in WITHOUT_CDIST:
        distances: Tensor = torch.cdist(a, b, compute_mode=mode)
        return distances
    squares = a.new_zeros(a.shape[0], a.shape[1], b.shape[1])
    for x, y in zip(a.split(DIFFERENCES_AT_ONCE, dim=2), b.split(DIFFERENCES_AT_ONCE, dim=2), strict=True):
        squares += (x[:, :, None] - y[:, None]).square().sum(dim=-1)
    return squares


def nearest_matches(distances: Float[Tensor, "n p q"], most: int) -> tuple[Int[Tensor, "n g"], Int[Tensor, "n g"]]:
    """Match each position with the nearest of the other view and keep the `most` nearest matches.

    0, or more than there are positions, keeps all. Returns the kept positions in their original order, and the
    positions of the other view that they are matched with.
    """
    nearest, partner = distances.min(dim=2)
    kept = nearest.argsort(dim=1, stable=True)[:, : most or None].sort(dim=1).values
    return kept, partner.gather(1, kept)


def at(positions: Float[Tensor, "n p d"], chosen: Int[Tensor, "n g"]) -> Float[Tensor, "n g d"]:
    """Return the embeddings of the chosen positions, each sample its own."""
    return positions.gather(1, chosen[:, :, None].expand(-1, -1, positions.shape[2]))


def position_places(
    boxes: Float[Tensor, "n 4"], flipped: Bool[Tensor, " n"], rows: int, columns: int
) -> Float[Tensor, "n p 2"]:
    """Return the centres of the cells of a feature map in the image that the view was cut from.

        (top + (k + 1/2) height / rows,  left + (m + 1/2) width / columns),   m counted from the right where flipped

    Boxes are top, left, height, width. Places are (down, across) of the P = H' W' positions, row by row, in their unit.

    Source: transforms.py of the official code, whose default (--no-flip-grid 1) takes no crop as flipped.
    """
    down = (torch.arange(rows, device=boxes.device, dtype=boxes.dtype) + 0.5) / rows
    across = (torch.arange(columns, device=boxes.device, dtype=boxes.dtype) + 0.5) / columns
    mirrored = torch.where(flipped[:, None], across.flip(0), across)
    top, left, height, width = boxes[:, :, None].unbind(1)
    y, x = top + down * height, left + mirrored * width
    grid = torch.stack([y[:, :, None].expand(-1, -1, columns), x[:, None, :].expand(-1, rows, -1)], dim=-1)
    return grid.flatten(1, 2)


@runtime_checkable
class Located(Protocol):
    """What `barlow.LocatedPipeline` makes of a batch: images (N, C, S, S), boxes (N, 4) and flipped (N,)."""

    images: Tensor
    boxes: Tensor
    flipped: Tensor


class VICRegL(Method):
    """Backbone, expander for h, projector for the positions of its map, and the loss: located views -> Terms.

    The backbone has a global pooling before which the map is read (`feature_map.py`); `local_projector` maps rows of
    the map to (rows, D'). `flip`: "compensated": a position of a flipped view is where its pixels came from.
    "official": the official code's default, which ignores flips, so that matches by location are mirrored between
    unlike flips.
    """

    def __init__(
        self,
        backbone: nn.Module,
        projector: nn.Module,
        local_projector: nn.Module,
        loss: Callable[..., Terms] = vicregl_loss,
        flip: Flip = "compensated",
    ) -> None:
        super().__init__(backbone, projector)
        final_pooling(backbone)
        if flip not in get_args(Flip):
            raise unknown("flip", flip, get_args(Flip))
        self.local_projector = local_projector
        self.loss = loss
        self.flip = flip

    def forward(self, views: Sequence[Any]) -> Terms:
        """Return the loss of two or more located views of one batch, the first two of them large."""
        return self.loss(
            [self._embeddings(view) for view in views],
            all_mean=all_mean_here(),
        )

    def represent(self, view: Any) -> Float[Tensor, "n d"]:
        """Return h of images, or of a view that carries its place."""
        h: Tensor = self.backbone(view.images if isinstance(view, Located) else view)
        return h

    def _embeddings(self, view: Any) -> Embeddings:
        if not isinstance(view, Located):
            raise ValueError(
                f"views: got {type(view).__name__}, wanted views that carry their place: views='vicregl', or pipelines "
                "inside barlow.LocatedPipeline"
            )
        h, feature_map = with_feature_map(self.backbone, view.images)
        rows = feature_map.flatten(2).mT  # (N, P, d)
        # One row per position: the norms inside the projector see all positions of all samples, as officially.
        positions = self.local_projector(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        flipped = view.flipped if self.flip == "compensated" else torch.zeros_like(view.flipped)
        places = position_places(view.boxes, flipped, *feature_map.shape[2:])
        return Embeddings(self.projector(h), positions, places)


def vicregl(
    backbone: nn.Module,
    head: HeadSpec,
    num_features: int,
    *,
    local_projector: str = "512-512-512",
    alpha: float = ALPHA,
    matches: int = MATCHES[0],
    matches_back: int = MATCHES[1],
    feature_matches: int = FEATURE_MATCHES[0],
    feature_matches_back: int = FEATURE_MATCHES[1],
    invariance_weight: float = INVARIANCE_WEIGHT,
    variance_weight: float = VARIANCE_WEIGHT,
    covariance_weight: float = COVARIANCE_WEIGHT,
    flip: Flip = "compensated",
) -> VICRegL:
    """Build the method with the numbers of a recipe; both heads end without bias, as in the official code."""
    loss = partial(
        vicregl_loss,
        alpha=alpha,
        matches=(matches, matches_back),
        feature_matches=(feature_matches, feature_matches_back),
        invariance_weight=invariance_weight,
        variance_weight=variance_weight,
        covariance_weight=covariance_weight,
    )
    projector = head.build(num_features, last_bias=False)
    local = replace(head, widths=local_projector).build(num_features, last_bias=False)
    return VICRegL(backbone, projector, local, loss, flip)
