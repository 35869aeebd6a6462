"""From sums over images and views to the label-free quantities of an audit, each with its error over images.

The error is None where there is none to give: counts, what the sizes alone decide, a score in units of its own error,
and what would take too long to compute anew without each block of images.
"""

import math
from typing import Any

import torch
from torch import Tensor

from barlow.auditing.estimated_losses import MOST_WORK
from barlow.auditing.measured import NUM_ERRORS
from barlow.auditing.observation import Observation
from barlow.auditing.spectra import Spectra, spectra
from barlow.theory.alignment import alignment, jackknifed_uniformity
from barlow.theory.covariances import Covariances
from barlow.theory.intraclass import lidar, view_information
from barlow.theory.jackknifed import Jackknifed, over_images
from barlow.theory.moments import jackknife
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, rank_me
from barlow.theory.symmetry import asymmetry_and_chance, swap_test

Record = dict[str, Any]
PAIR_IMAGES = 2048
"""Images behind symmetry, alignment and uniformity, whose work grows with their square."""
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
    found |= {"mean_correlation": _jackknifed(mean), "view_information": _jackknifed(information)}
    counts = {"rank": rho.rank, "null_edge": rho.edge, "num_above_edge": rho.num_above_edge}
    found |= {name: _record(float(value)) for name, value in counts.items()}
    return found | _of_pairs(seen), rho.record()


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


def _of_pairs(seen: Observation) -> dict[str, Record]:
    """What takes single embeddings and no sums: their errors as well are from leaving out blocks of images."""
    n, num_blocks = len(seen.h_a), seen.moments.num_blocks
    few = torch.linspace(0, n - 1, min(n, PAIR_IMAGES)).long()
    h_a, h_b = seen.h_a[few], seen.h_b[few]
    z_a, z_b = (h_a, h_b) if seen.z_a is None or seen.z_b is None else (seen.z_a[few], seen.z_b[few])
    found = {"rank_me": _rank_me(seen.h_a if seen.h is None else seen.h, num_blocks)}
    found |= _symmetry(z_a, z_b, num_blocks)
    if (h_a.norm(dim=1) > 0).all() and (h_b.norm(dim=1) > 0).all():
        near = over_images(lambda rows: alignment(h_a[rows], h_b[rows]), len(few), num_blocks)
        found |= {"alignment": _jackknifed(near), "uniformity": _jackknifed(jackknifed_uniformity(h_a, num_blocks))}
    return found


def _rank_me(h: Tensor, num_blocks: int) -> Record:
    (n, d), smaller = h.shape, min(h.shape)
    if float(num_blocks) * smaller * (n * d + smaller**2) > MOST_WORK:
        return _record(rank_me(h))
    return _jackknifed(over_images(lambda rows: rank_me(h[rows]), n, num_blocks))


def _symmetry(z_a: Tensor, z_b: Tensor, num_blocks: int) -> dict[str, Record]:
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
        "asymmetry": _record(test.asymmetry, errors[0]),
        "asymmetry_expected": _record(test.expected, errors[1]),
        "asymmetry_z": _record(test.z),
        "skew_share": _record(test.excess / 2, (reach - test.excess) / 2 / NUM_ERRORS),
    }


def _jackknifed(found: Jackknifed) -> Record:
    return _record(found.value, found.standard_error)
