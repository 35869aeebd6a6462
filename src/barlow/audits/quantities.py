"""From sums over samples and views to the label-free quantities of an audit, each with its error over samples.

Eigenvalues of few samples are too far apart, so that what is made of them is corrected by the jackknife, and its error
has the correction in it. The error is None where there is none to give: counts, what the sizes alone decide, a score in
units of its own error, what would take too long to compute anew without each block of samples, and what no correction
can be trusted in: the spectrum of too few samples, an exponent where there is no power law, an information at its cap.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from barlow.audits.copies import copies
from barlow.audits.estimated_losses import MOST_WORK
from barlow.audits.observation import Observation
from barlow.audits.spectra import Spectra, spectra, too_few
from barlow.figures import NUM_ERRORS, Measured, Quantities, Spectrum, described
from barlow.theory.alignment import alignment, jackknifed_uniformity
from barlow.theory.intraclass import lidar
from barlow.theory.moments import Covariances
from barlow.theory.spectrum import alpha_req, condition_number, effective_rank, rank_me
from barlow.theory.standard_errors import Jackknifed, jackknifed as jackknifed_sums, over_images
from barlow.theory.symmetry import asymmetry_and_chance, swap_test
from barlow.theory.view_index import index_share, scale_ratio

PAIR_IMAGES = 2048
"""Samples behind symmetry, alignment and uniformity, whose work grows with their square."""
OF_ALL = ("augmentation_share", "participation_ratio")
"""Of all features: they take no eigenvalue."""
OF_DIRECTIONS = ("condition_number", "effective_rank", "lidar", "alpha", "alpha_r_squared")
"""Of those directions that are looked at."""
ELEMENTWISE = 250
"""How many multiplications of matrices take as long as what is done with one number where samples are compared."""
FEWEST_COMPARED = 256
OF_SPECTRUM = ("condition_number", "effective_rank", "lidar", "alpha", "alpha_r_squared", "participation_ratio",
               "mean_correlation", "view_information", "rank_me")  # fmt: skip
"""What has no interval where samples are too few for a spectrum."""
POWER_LAW = 0.9
"""Below this R^2 an exponent is no property of the features, and has no interval."""


def quantities(seen: Observation, known: Spectra | None = None) -> tuple[Quantities, Spectrum]:
    """Measure everything that needs no label, and the spectrum, its budget and waterline still empty."""
    rho = spectra(seen.moments, seen.flips, seen.dtype) if known is None else known
    n = seen.moments.num_images
    found: dict[str, Any] = {}
    for names, statistics, sums in (
        (OF_ALL, _of_all, seen.moments),
        (OF_DIRECTIONS, _of_directions, rho.inside or seen.moments),
    ):
        scalars = jackknifed_sums(sums, partial(statistics, known=rho))
        found |= {name: _corrected(scalars, place) for place, name in enumerate(names)}
    signed = rho.plug_in if rho.signed is None else rho.signed
    mean = signed.map(lambda values: float(values.mean()) if len(values) else math.nan)
    information = signed.map(lambda values: _information(values, n))
    found |= {"mean_correlation": corrected(mean), "view_information": corrected(information)}
    counts = {"rank": rho.rank, "null_edge": rho.edge, "num_above_edge": rho.num_above_edge}
    found |= {name: measured(float(value)) for name, value in counts.items()}
    found |= _of_pairs(seen)
    found |= _of_samples(seen, constant=not rho.rank)
    without = set(OF_SPECTRUM) if too_few(n, len(rho.basis)) else set()
    without |= set() if found["alpha_r_squared"].value >= POWER_LAW else {"alpha"}
    without |= {"view_information"} if len(signed.value) and float(signed.value[0]) >= 1 - 1 / n else set()
    found |= {name: replace(found[name], error=None) for name in without if name in found}
    possible: dict[str, Any] = {name: _possible(name, one) for name, one in found.items()}
    return Quantities(**possible), rho.spectrum()


def measured(value: Tensor | float, error: Tensor | float = math.nan) -> Measured:
    """Return a number with its error, None for an error that is not finite."""
    known = float(error)
    return Measured(float(value), known if math.isfinite(known) else None)


def jackknifed(found: Jackknifed) -> Measured:
    """Return a number with the error of its replicates."""
    return measured(found.value, found.standard_error)


def corrected(found: Jackknifed) -> Measured:
    """Return a number without the bias that falls as 1/n, and with an error that has the correction in it."""
    return measured(found.corrected, found.corrected_error)


def _corrected(found: Jackknifed, place: int) -> Measured:
    return corrected(Jackknifed(found.value[place], found.left_out[:, place]))


def _possible(name: str, found: Measured) -> Measured:
    """A correction may lead out of what is possible; a value lies in its own interval."""
    about = described(Quantities)[name]
    return found if math.isnan(found.value) else replace(found, value=min(max(found.value, about.least), about.most))


def _information(values: Tensor, num_images: int) -> float:
    """`view_information`, with what chance leaves below 0 as well: cut at 0, chance would only ever add."""
    cut = values.double().clamp(-1.0 + 1.0 / num_images, 1.0 - 1.0 / num_images)
    return float(-torch.log1p(-cut.square()).sum() / 2)


def _of_all(c: Covariances, known: Spectra) -> Tensor:
    if not known.rank:  # nothing but rounding varies
        return torch.tensor([math.nan, 0.0], dtype=torch.float64)
    total = c.total
    trace = total.trace()
    return torch.stack([c.within.trace() / trace, trace.square() / total.square().sum()])


def _of_directions(c: Covariances, known: Spectra) -> Tensor:
    if not known.rank:
        return torch.tensor([math.nan, 0.0, 0.0, math.nan, math.nan], dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(c.total).flip(0).clamp(min=0)
    slope = alpha_req(eigenvalues)
    scalars = [
        condition_number(eigenvalues, known.tolerance),
        effective_rank(eigenvalues),
        # As its authors do: the means of K views.
        lidar(c.between + c.within / c.num_views, c.within),
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
    found = {"rank_me": _rank_me(seen.h_a if seen.h is None else seen.h, num_blocks, seen.work)}
    found |= _symmetry(z_a, z_b, num_blocks, seen.work)
    if (h_a.norm(dim=1) > 0).all() and (h_b.norm(dim=1) > 0).all():
        near = over_images(lambda rows: alignment(h_a[rows], h_b[rows]), len(few), num_blocks)
        found |= {"alignment": jackknifed(near), "uniformity": jackknifed(jackknifed_uniformity(h_a, num_blocks))}
    return found


def _of_samples(seen: Observation, *, constant: bool) -> dict[str, Measured]:
    """Whether samples and views are what errors and theory assume: no copies, and views that are drawn alike.

    Of features that vary by rounding alone nothing of the kind can be said.
    """
    if constant:
        return {}
    alike, num_blocks, n = copies(seen.each_sample), seen.moments.num_blocks, len(seen.h_a)
    found = {"duplicates": measured(alike.share), "error_factor": measured(alike.error_factor)}
    slots = seen.slots
    work = min(MOST_WORK, seen.work) / (ELEMENTWISE * num_blocks * slots[0].numel())
    most = min(n, PAIR_IMAGES, max(FEWEST_COMPARED, int(work)))
    views = slots[torch.linspace(0, n - 1, most).long()]
    found["view_index_share"] = jackknifed(index_share(views, num_blocks))
    found["view_scale"] = measured(*scale_ratio(views, num_blocks))
    return found


def _rank_me(h: Tensor, num_blocks: int, work: float) -> Measured:
    (n, d), smaller = h.shape, min(h.shape)
    if float(num_blocks) * smaller * (n * d + smaller**2) > min(MOST_WORK, work):
        return measured(rank_me(h))
    return corrected(over_images(lambda rows: rank_me(h[rows]), n, num_blocks))


def _symmetry(z_a: Tensor, z_b: Tensor, num_blocks: int, work: float) -> dict[str, Measured]:
    """Asymmetry of C against chance; z has no error, for it is a score in units of its own."""
    test, n, width = swap_test(z_a, z_b), len(z_a), z_a.shape[1]
    errors = torch.full((3,), math.nan)
    if float(num_blocks) * n * width**2 <= min(MOST_WORK, work):
        pair = over_images(lambda rows: torch.tensor(asymmetry_and_chance(z_a[rows], z_b[rows])), n, num_blocks)
        excess = pair.map(lambda found: found[0].square() - found[1].square())
        errors = torch.cat([pair.standard_error, excess.standard_error.view(1)])
    # The square of the excess has an error that means something where it is about 0, its root has not.
    ends = [max(0.0, test.excess**2 + side * NUM_ERRORS * float(errors[2])) ** 0.5 for side in (-1, 1)]
    reach = max(test.excess - ends[0], ends[1] - test.excess) if math.isfinite(float(errors[2])) else math.nan
    return {
        "asymmetry": measured(test.asymmetry, errors[0]),
        "asymmetry_expected": measured(test.expected, errors[1]),
        "asymmetry_z": measured(test.z),
        "skew_share": measured(test.excess / 2, reach / 2 / NUM_ERRORS),
    }
