"""From sums over images and views to the label-free quantities of an audit, each with its error over images."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from barlow.auditing.observation import Observation
from barlow.theory.alignment import alignment, uniformity
from barlow.theory.covariances import Covariances
from barlow.theory.intraclass import (
    cross_fit_correlations,
    intraclass_correlations,
    lidar,
    num_above_edge,
    view_information,
    wachter_edge,
)
from barlow.theory.moments import jackknife
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, participation_ratio, rank_me
from barlow.theory.symmetry import swap_test

Record = dict[str, Any]
MOST_FEATURES = 512
"""Wider features are looked at in the leading directions of T, so that one audit takes minutes: that can only hide
invariant directions of little variance."""
SWAP_IMAGES = 2048
"""Images behind the test of symmetry and uniformity, whose work grows with their square."""
SCALARS = (
    "augmentation_share", "mean_correlation", "view_information", "rank", "condition_number", "effective_rank",
    "participation_ratio", "lidar", "alpha", "alpha_r_squared",
)  # fmt: skip


def quantities(seen: Observation) -> tuple[dict[str, Record], Record]:
    """Measure everything that needs no label.

    Args:
        seen: the features.

    Returns:
        "quantities" and "spectrum" of the figures, budget and waterline still empty.
    """
    basis = leading_directions(seen.moments.covariances())
    values, errors = jackknife(seen.moments, lambda c: _statistics(c.projected(basis)))
    found = {
        name: {"value": number(values[place]), "error": number(errors[place])} for place, name in enumerate(SCALARS)
    }
    found["rank"]["error"] = None  # a count
    whole = seen.moments.covariances().projected(basis)
    exact = intraclass_correlations(whole.between, whole.total)
    rank = exact.rank
    edge = wachter_edge(rank, whole.num_images, whole.num_views)
    above = num_above_edge(exact.correlations, whole.num_images, whole.num_views)
    found["null_edge"] = {"value": edge, "error": None}
    found["num_above_edge"] = {"value": above, "error": None}
    found |= {name: {"value": number(value), "error": None} for name, value in _of_pairs(seen).items()}
    spectrum = {
        "plug_in": exact.clipped.tolist(),
        "error": errors[len(SCALARS) :][:rank].tolist(),
        "cross_fit": cross_fit(seen).tolist(),
        "edge": edge,
        "num_above_edge": above,
        "eigenvalues": torch.linalg.eigvalsh(whole.total).flip(0).clamp(min=0).tolist(),
        "budget": [],
        "waterline": None,
        "num_active": None,
    }
    return found, spectrum


def cross_fit(seen: Observation) -> Tensor:
    """Return the correlations of one half's directions in the other half, within [0, 1] and descending."""
    basis = leading_directions(seen.moments.covariances())
    halves = [half.projected(basis) for half in seen.moments.halves()]
    return cross_fit_correlations(*halves).clamp(0, 1).sort(descending=True).values


def leading_directions(covariances: Covariances) -> Tensor:
    """Return the identity, or the leading `MOST_FEATURES` eigenvectors of T as rows where there are more features."""
    if len(covariances.mean) <= MOST_FEATURES:
        return torch.eye(len(covariances.mean), dtype=torch.float64)
    vectors: Tensor = torch.linalg.eigh(covariances.total).eigenvectors
    return vectors[:, -MOST_FEATURES:].T


def number(value: Tensor | float) -> float | None:
    """Return a number that JSON can hold, None for one that is not finite."""
    found = float(value)
    return found if math.isfinite(found) else None


def _statistics(c: Covariances) -> Tensor:
    """`SCALARS`, then the correlations, descending and filled up with zeros."""
    trace = c.total.trace()
    exact = intraclass_correlations(c.between, c.total)
    eigenvalues = torch.linalg.eigvalsh(c.total).flip(0).clamp(min=0)
    slope = alpha_req(eigenvalues)
    scalars = [
        float(c.within.trace() / trace) if trace > 0 else math.nan,
        float(exact.clipped.mean()) if exact.rank else math.nan,
        view_information(exact.correlations, c.num_images),
        float(exact.rank),
        condition_number(eigenvalues),
        effective_rank(eigenvalues),
        participation_ratio(eigenvalues),
        lidar(c.between + c.within / c.num_views, c.within),  # as its authors do: the means of K views
        slope.alpha,
        slope.r_squared,
    ]
    rho = functional.pad(exact.clipped, (0, len(c.mean) - exact.rank))
    return torch.cat([torch.tensor(scalars, dtype=torch.float64), rho])


def _of_pairs(seen: Observation) -> dict[str, float]:
    few = torch.linspace(0, len(seen.h_a) - 1, min(len(seen.h_a), SWAP_IMAGES)).long()
    h_a, h_b = seen.h_a[few], seen.h_b[few]
    z_a, z_b = (h_a, h_b) if seen.z_a is None or seen.z_b is None else (seen.z_a[few], seen.z_b[few])
    symmetry = swap_test(z_a, z_b)
    found = {
        "rank_me": rank_me(seen.h_a if seen.h is None else seen.h),
        "asymmetry": symmetry.asymmetry,
        "asymmetry_expected": symmetry.expected,
        "asymmetry_z": symmetry.z,
        "skew_share": symmetry.excess / 2,
    }
    if (h_a.norm(dim=1) > 0).all() and (h_b.norm(dim=1) > 0).all():
        found |= {"alignment": alignment(h_a, h_b), "uniformity": uniformity(h_a)}
    return found
