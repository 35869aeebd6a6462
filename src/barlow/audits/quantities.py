"""From sums over samples and views to the label-free quantities of an audit, each with its error over samples.

The error is None where there is none to give: counts, what the sizes alone decide, a score in units of its own error,
and what would take too long to compute anew without each block of samples.
"""

import math
from typing import Any

import torch
from torch import Tensor

from barlow.audits.estimated_losses import MOST_WORK
from barlow.audits.observation import Observation
from barlow.audits.spectra import Spectra, spectra
from barlow.figures import NUM_ERRORS, Measured, Quantities, Spectrum
from barlow.theory.alignment import alignment, jackknifed_uniformity
from barlow.theory.intraclass import lidar, view_information
from barlow.theory.moments import Covariances
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, rank_me
from barlow.theory.standard_errors import Jackknifed, jackknife, over_images
from barlow.theory.symmetry import asymmetry_and_chance, swap_test

PAIR_IMAGES = 2048
"""Samples behind symmetry, alignment and uniformity, whose work grows with their square."""
SCALARS = (
    "augmentation_share", "participation_ratio", "condition_number", "effective_rank", "lidar", "alpha",
    "alpha_r_squared",
)  # fmt: skip


def quantities(seen: Observation, known: Spectra | None = None) -> tuple[Quantities, Spectrum]:
    """Measure everything that needs no label, and the spectrum, its budget and waterline still empty."""
    rho = spectra(seen.moments) if known is None else known
    values, errors = jackknife(seen.moments, lambda c: _statistics(c, rho.basis))
    found: dict[str, Any] = {name: measured(values[place], errors[place]) for place, name in enumerate(SCALARS)}
    n = seen.moments.num_images
    mean = rho.plug_in.map(lambda values: float(values.mean()) if len(values) else math.nan)
    information = rho.plug_in.map(lambda values: view_information(values, n))
    found |= {"mean_correlation": jackknifed(mean), "view_information": jackknifed(information)}
    counts = {"rank": rho.rank, "null_edge": rho.edge, "num_above_edge": rho.num_above_edge}
    found |= {name: measured(float(value)) for name, value in counts.items()}
    return Quantities(**found | _of_pairs(seen)), rho.spectrum()


def measured(value: Tensor | float, error: Tensor | float = math.nan) -> Measured:
    """Return a number with its error, None for an error that is not finite."""
    known = float(error)
    return Measured(float(value), known if math.isfinite(known) else None)


def jackknifed(found: Jackknifed) -> Measured:
    """Return a number with the error of its replicates."""
    return measured(found.value, found.standard_error)


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


def _of_pairs(seen: Observation) -> dict[str, Measured]:
    """What takes single embeddings and no sums: their errors as well are from leaving out blocks of samples."""
    num_blocks = seen.moments.num_blocks
    few = seen.pairs(PAIR_IMAGES)
    h_a, h_b = seen.h_a[few], seen.h_b[few]
    z_a, z_b = (h_a, h_b) if seen.z_a is None or seen.z_b is None else (seen.z_a[few], seen.z_b[few])
    found = {"rank_me": _rank_me(seen.h_a if seen.h is None else seen.h, num_blocks)}
    found |= _symmetry(z_a, z_b, num_blocks)
    if (h_a.norm(dim=1) > 0).all() and (h_b.norm(dim=1) > 0).all():
        near = over_images(lambda rows: alignment(h_a[rows], h_b[rows]), len(few), num_blocks)
        found |= {"alignment": jackknifed(near), "uniformity": jackknifed(jackknifed_uniformity(h_a, num_blocks))}
    return found


def _rank_me(h: Tensor, num_blocks: int) -> Measured:
    (n, d), smaller = h.shape, min(h.shape)
    if float(num_blocks) * smaller * (n * d + smaller**2) > MOST_WORK:
        return measured(rank_me(h))
    return jackknifed(over_images(lambda rows: rank_me(h[rows]), n, num_blocks))


def _symmetry(z_a: Tensor, z_b: Tensor, num_blocks: int) -> dict[str, Measured]:
    """Asymmetry of C against chance; z has no error, for it is a score in units of its own."""
    test, n, width = swap_test(z_a, z_b), len(z_a), z_a.shape[1]
    errors = torch.full((3,), math.nan)
    if float(num_blocks) * n * width**2 <= MOST_WORK:
        pair = over_images(lambda rows: torch.tensor(asymmetry_and_chance(z_a[rows], z_b[rows])), n, num_blocks)
        excess = pair.map(lambda found: found[0].square() - found[1].square())
        errors = torch.cat([pair.standard_error, excess.standard_error.view(1)])
    # The square of the excess has an error that means something where it is about 0, its root has not.
    reach = math.sqrt(test.excess**2 + NUM_ERRORS * float(errors[2]))
    return {
        "asymmetry": measured(test.asymmetry, errors[0]),
        "asymmetry_expected": measured(test.expected, errors[1]),
        "asymmetry_z": measured(test.z),
        "skew_share": measured(test.excess / 2, (reach - test.excess) / 2 / NUM_ERRORS),
    }
