"""What the study of the duality concludes from its figures."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from barlow.report.study_page import Curve, Findings, Plot, Table, Verdict
from barlow.studies.cells import Finished

EXACT = 1e-10
"""Relative difference that is rounding in float64: sums of N D^2 products of order 1 in two different orders."""
SAME = 0.99
"""Cosine of two gradients that still counts as one direction: an angle of 8 degrees."""
IDENTITIES = ("one_view", "one_view_gradient", "two_views", "two_views_gradient", "removed")
NAMES = {"pearson": "Pearson", "sample_cosine": "sample cosine", "covariance": "centred only"}
WHERE = {"gaussian": "Gaussian features", "start": "random projector", "optimum": "optimal linear projector"}
COLORS = {"gaussian": "c1", "start": "c2", "optimum": "c3"}
COLUMNS = {"share": "share", "cosine": "cosine", "off_diagonal": "off-diagonal cosine"}
Row = Mapping[str, Any]


def conclude(cells: Sequence[Finished]) -> Findings:
    """Return verdicts on the identities and on the pairs n = m, with tables and curves.

    Args:
        cells: of `duality`.
    """
    verdicts = [_identity(cells), _contrasts(cells), _noise(cells)]
    verdicts += [_direction(cells, name) for name in NAMES]
    return Findings(verdicts, [_identities(cells), _pairs(cells), _shares(cells), _cosines(cells)])


def _rows(cells: Sequence[Finished]) -> list[tuple[str, Row]]:
    return [(cell.arguments["kind"], row) for cell in cells for row in cell.figures["rows"]]


def _identity(cells: Sequence[Finished]) -> Verdict:
    rows = [row for _, row in _rows(cells)]
    worst = {name: max(row[name] for row in rows) for name in IDENTITIES}
    return Verdict(
        "Duality",
        "Feature contrast plus its diagonal equals sample contrast plus its diagonal, in value and gradient, and the "
        "loss without the pairs n = m is a sum over pairs of different samples.",
        "held" if max(worst.values()) < EXACT else "failed",
        f"the largest relative differences over {len(rows)} cases are {worst['one_view']:.0e} (one view), "
        f"{worst['one_view_gradient']:.0e} (its gradient), {worst['two_views']:.0e} and "
        f"{worst['two_views_gradient']:.0e} (two views), {worst['removed']:.0e} (pairs n != m).",
    )


def _contrasts(cells: Sequence[Finished]) -> Verdict:
    rows = _rows(cells)
    cosines = [row["cosine_of_contrasts"] for _, row in rows]
    low, high = (pick(rows, key=lambda row: row[1]["cosine_of_contrasts"]) for pick in (min, max))
    return Verdict(
        "Duality",
        f"The diagonal terms do not matter: the two off-diagonal sums push standardised embeddings in one direction "
        f"(cosine of their gradients at least {SAME}).",
        "held" if min(cosines) >= SAME else "failed",
        f"the cosine is {min(cosines):.3f} ({WHERE[low[0]]}, N = {low[1]['batch']}, D = {low[1]['width']}) to "
        f"{max(cosines):.3f} ({WHERE[high[0]]}, N = {high[1]['batch']}, D = {high[1]['width']}), in "
        f"{sum(cosine >= SAME for cosine in cosines)} of {len(cosines)} cases above {SAME}. Standardising makes the "
        "columns equally long, not the rows, and sum |z_n|^4 remains.",
    )


def _noise(cells: Sequence[Finished]) -> Verdict:
    """For independent features nothing but noise is off the diagonal, so that the pairs n = m are all of it."""
    rows = [row for kind, row in _rows(cells) if kind == "gaussian"]
    statement = "For uncorrelated features the off-diagonal term is nothing but the pairs n = m (to 10%)."
    if not rows:
        return Verdict("Noise", statement, "undecided", "no Gaussian features were measured.")
    shares = [row["share_pearson"] for row in rows]
    others = [row["share_pearson"] for kind, row in _rows(cells) if kind != "gaussian"] or [float("nan")]
    return Verdict(
        "Noise",
        statement,
        "held" if all(abs(share - 1) < 0.1 for share in shares) else "failed",
        f"their share is {min(shares):.3f} to {max(shares):.3f} of the sum of squares at every N and D; on features "
        f"of images it is {min(others):.3f} to {max(others):.3f}, falling with N.",
    )


def _direction(cells: Sequence[Finished], name: str) -> Verdict:
    rows = _rows(cells)
    figure = f"cosine_{name}"
    cosines = [row[figure] for _, row in rows]
    low = min(rows, key=lambda row: row[1][figure])
    largest = max(row["batch"] for _, row in rows)
    late = [row[figure] for _, row in rows if row["batch"] == largest]
    term = [row[f"off_diagonal_{name}"] for _, row in rows]
    return Verdict(
        "n = m",
        f"Dropping the pairs n = m leaves the direction of the gradient as it is ({NAMES[name]}, cosine at least "
        f"{SAME}).",
        "held" if min(cosines) >= SAME else "failed",
        f"the cosine is {min(cosines):.3f} at worst ({WHERE[low[0]]}, N = {low[1]['batch']}, D = {low[1]['width']}), "
        f"and {min(late):.3f} to {max(late):.3f} at N = {largest}; of the off-diagonal term alone it is "
        f"{min(term):.3f} to {max(term):.3f}.",
    )


def _identities(cells: Sequence[Finished]) -> Table:
    rows: list[list[str | float]] = [
        [WHERE[kind], row["width"], row["batch"], *(row[name] for name in IDENTITIES), row["cosine_of_contrasts"]]
        for kind, row in _first_seed(cells)
    ]
    head = ["", "D", "N", "one view", "gradient", "two views", "gradient", "pairs n != m", "cosine of contrasts"]
    reading = (
        "Relative differences of the two sides, first seed; the last column is the cosine between the gradients of "
        "the off-diagonal sums of Z^T Z and of Z Z^T."
    )
    return Table("The identities", reading, head, rows)


def _pairs(cells: Sequence[Finished]) -> Table:
    merged: dict[tuple[str, int, int], list[Row]] = {}
    for kind, row in _rows(cells):
        merged.setdefault((kind, row["width"], row["batch"]), []).append(row)
    figures = [f"{what}_{name}" for name in NAMES for what in COLUMNS]
    rows: list[list[str | float]] = [
        [WHERE[kind], width, batch, *(fmean(row[figure] for row in found) for figure in figures)]
        for (kind, width, batch), found in merged.items()
    ]
    head = ["", "D", "N", *(f"{NAMES[name]}: {what}" for name in NAMES for what in COLUMNS.values())]
    reading = (
        "Share of the pairs n = m in the sum of off-diagonal squares; cosines between the gradients of the loss, and "
        "of its off-diagonal term alone, with and without them. Means over draws and seeds."
    )
    return Table("What the pairs n = m do", reading, head, rows)


def _shares(cells: Sequence[Finished]) -> Plot:
    reading = "Pearson, the largest D, first seed. What is not the pairs n = m is correlation that more samples keep."
    curves = _curves(cells, "share_pearson")
    return Plot("Share of the pairs n = m", reading, "batch size N", curves, log_x=True, y_name="Share")


def _cosines(cells: Sequence[Finished]) -> Plot:
    reading = "Pearson, the largest D, first seed: 1 means that dropping the pairs n = m changes no direction."
    curves = _curves(cells, "cosine_pearson")
    return Plot("Cosine of the gradients", reading, "batch size N", curves, log_x=True, y_name="Cosine")


def _curves(cells: Sequence[Finished], figure: str) -> list[Curve]:
    rows = _first_seed(cells)
    width = max(row["width"] for _, row in rows)
    found = {kind: [row for name, row in rows if name == kind and row["width"] == width] for kind in WHERE}
    return [
        Curve(WHERE[kind], [row["batch"] for row in mine], [row[figure] for row in mine], COLORS[kind])
        for kind, mine in found.items()
    ]


def _first_seed(cells: Sequence[Finished]) -> list[tuple[str, Row]]:
    return _rows([cell for cell in cells if cell.arguments["seed"] == cells[0].arguments["seed"]])
