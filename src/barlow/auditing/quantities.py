"""From sums over images and views to the label-free quantities of an audit, each with its error over images."""

import math
from typing import Any

import torch
from torch import Tensor

from barlow.auditing.observation import Observation
from barlow.auditing.spectra import Spectra, spectra
from barlow.theory.alignment import alignment, uniformity
from barlow.theory.covariances import Covariances
from barlow.theory.intraclass import lidar, view_information
from barlow.theory.moments import jackknife
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, rank_me
from barlow.theory.symmetry import swap_test

Record = dict[str, Any]
SWAP_IMAGES = 2048
"""Images behind the test of symmetry and uniformity, whose work grows with their square."""
SCALARS = (
    "augmentation_share", "participation_ratio", "condition_number", "effective_rank", "lidar", "alpha",
    "alpha_r_squared",
)  # fmt: skip


def quantities(seen: Observation, known: Spectra | None = None) -> tuple[dict[str, Record], Record]:
    """Measure everything that needs no label.

    Args:
        seen: the features.
        known: their spectra, where they were measured already.

    Returns:
        "quantities" and "spectrum" of the figures, budget and waterline still empty.
    """
    rho = spectra(seen.moments) if known is None else known
    values, errors = jackknife(seen.moments, lambda c: _statistics(c, rho.basis))
    found = {name: _record(values[place], errors[place]) for place, name in enumerate(SCALARS)}
    n = seen.moments.num_images
    mean = rho.plug_in.map(lambda values: float(values.mean()) if len(values) else math.nan)
    information = rho.plug_in.map(lambda values: view_information(values, n))
    found["mean_correlation"] = _record(mean.value, mean.standard_error)
    found["view_information"] = _record(information.value, information.standard_error)
    counts = {"rank": rho.rank, "null_edge": rho.edge, "num_above_edge": rho.num_above_edge}
    found |= {name: _record(float(value)) for name, value in {**counts, **_of_pairs(seen)}.items()}
    return found, rho.record()


def number(value: Tensor | float) -> float | None:
    """Return a number that JSON can hold, None for one that is not finite."""
    found = float(value)
    return found if math.isfinite(found) else None


def _record(value: Tensor | float, error: Tensor | float = math.nan) -> Record:
    return {"value": number(value), "error": number(error)}


def _statistics(c: Covariances, basis: Tensor) -> Tensor:
    """`SCALARS`; what takes no eigenvalue is of all features, the rest of those directions that are looked at."""
    total = c.total
    trace, inside = total.trace(), c.projected(basis)
    eigenvalues = torch.linalg.eigvalsh(inside.total).flip(0).clamp(min=0)
    slope = alpha_req(eigenvalues)
    scalars = [
        float(c.within.trace() / trace) if trace > 0 else math.nan,
        float(trace.square() / total.square().sum()) if trace > 0 else 0.0,
        condition_number(eigenvalues),
        effective_rank(eigenvalues),
        # As its authors do: the means of K views.
        lidar(inside.between + inside.within / c.num_views, inside.within),
        slope.alpha,
        slope.r_squared,
    ]
    return torch.tensor(scalars, dtype=torch.float64)


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
