"""What the study of the batch size concludes from its figures."""

import math
from collections.abc import Mapping, Sequence
from statistics import linear_regression
from typing import Any

from barlow.report.study_page import Curve, Findings, Outcome, Plot, Table, Verdict
from barlow.studies.cells import Finished

TOLERANCE = 0.1
"""Relative error that formulas to first order in 1/N may have at N >= 32: the next order is about 1/N of them, with
factors of a few."""
SMALLEST = 32
"""Batch size from which formulas to first order are held to that."""
ERRORS = 3.5
"""Standard errors up to which a mean agrees: of some 50 comparisons one is off by more in 40 studies."""
SLOPE = 0.05
"""Error of the exponent of the asymmetry, whose prediction is -1/2."""
NEAR = 1e-5
"""Relative distance of the optimised loss from the floor."""
Row = Mapping[str, Any]


def conclude(cells: Sequence[Finished]) -> Findings:
    """Return verdicts on the bias of the loss, the asymmetry and the floors, with tables and curves.

    Args:
        cells: of `batch_size`.
    """
    sampled = [cell for cell in cells if cell.name != "floors"]
    floors = next(cell for cell in cells if cell.name == "floors")
    verdicts = [_bias(sampled, kind) for kind in ("gaussian", "trained")]
    verdicts += [_raw(sampled), _raw_removed(sampled), _pearson_removed(sampled)]
    verdicts += [_falls(sampled), _by_pair(sampled), _floor(floors), _above_floor(sampled)]
    parts: list[Table | Plot] = [_losses(sampled), _asymmetries(sampled), _loss_plot(sampled), _skew_plot(sampled)]
    return Findings(verdicts, [*parts, _floor_table(floors)])


def _kind(cell: Finished) -> str:
    return cell.name.split("-")[0]


def _rows(cells: Sequence[Finished], kind: str = "", *, least: int = 0) -> list[tuple[Finished, Row]]:
    return [
        (cell, row)
        for cell in cells
        for row in cell.figures["rows"]
        if row["batch"] >= least and (not kind or _kind(cell) == kind)
    ]


def _first_order(row: Row) -> float:
    return float(row["excess_off_diagonal"] + row["excess_diagonal"] + row["excess_shrunk"])


def _bias(cells: Sequence[Finished], kind: str) -> Verdict:
    """The excess of the Pearson loss over the complete one, against its prediction."""
    where = "Gaussian features" if kind == "gaussian" else "a trained backbone, whose features are not Gaussian"
    statement = (
        f"The mean loss of batches is the complete loss plus lambda D(D-1)/(N-1) + sum (1-rho^2)^2/N + "
        f"sum rho(1-rho)(1-rho^2)/N, on {where}, to {100 * TOLERANCE:g}% of the excess for N >= {SMALLEST}."
    )
    found = _rows(cells, kind, least=SMALLEST)
    if not found:
        return Verdict("C16", statement, "undecided", "it was not measured.")
    misses, unsure = [], 0
    for cell, row in found:
        predicted, (mean, error) = _first_order(row), row["loss"]
        miss = abs(mean - cell.figures["complete"] - predicted)
        beyond = miss - TOLERANCE * predicted
        unsure += 0 < beyond <= ERRORS * error  # beyond the tolerance, but noise can do that
        misses.append(beyond > ERRORS * error)
    outcome: Outcome = "failed" if any(misses) else "undecided" if unsure > len(found) / 2 else "held"
    cell = found[0][0]
    said = "/".join(f"{row['loss'][0]:.3f}" for one, row in found if one is cell)
    expected = "/".join(f"{cell.figures['complete'] + _first_order(row):.3f}" for one, row in found if one is cell)
    sizes = "/".join(str(row["batch"]) for one, row in found if one is cell)
    first = found[0][1]
    return Verdict(
        "C16",
        statement,
        outcome,
        f"at N = {sizes} the mean loss is {said}, predicted {expected}, complete {cell.figures['complete']:.3f}: at "
        f"N = {first['batch']} {100 * (1 - cell.figures['complete'] / first['loss'][0]):.0f}% of the loss is the "
        f"batch's own noise. {sum(misses)} of {len(found)} cases miss.",
    )


def _means(cells: Sequence[Finished], figure: str, expected: str) -> tuple[list[float], Finished, Row]:
    """Distances in standard errors of a mean from what is expected, "complete" or a figure; the case that is worst."""
    found = _rows(cells)

    def distance(cell: Finished, row: Row) -> float:
        target = cell.figures["complete"] if expected == "complete" else row[expected]
        return float(abs(row[figure][0] - target) / row[figure][1])

    worst = max(found, key=lambda one: distance(*one))
    return [distance(*one) for one in found], *worst


def _raw(cells: Sequence[Finished]) -> Verdict:
    distances, cell, row = _means(cells, "raw", "raw_expected")
    return Verdict(
        "Raw loss",
        "Without normalisation the mean loss of batches is the complete loss plus (1/N) sum w_ij Var(z_i^A z_j^B), "
        "exactly, for any features.",
        "held" if max(distances) < ERRORS else "failed",
        f"all {len(distances)} means agree to {max(distances):.1f} standard errors; the worst is {cell.name} at "
        f"N = {row['batch']}: {row['raw'][0]:.3f} ± {row['raw'][1]:.3f}, expected {row['raw_expected']:.3f}.",
    )


def _raw_removed(cells: Sequence[Finished]) -> Verdict:
    distances, cell, row = _means(cells, "raw_removed", "complete")
    return Verdict(
        "Raw loss",
        'With bias="removed" the mean of the loss without normalisation is the complete loss at every N.',
        "held" if max(distances) < ERRORS else "failed",
        f"all {len(distances)} means agree to {max(distances):.1f} standard errors; the worst is {cell.name} at "
        f"N = {row['batch']}: {row['raw_removed'][0]:.3f} ± {row['raw_removed'][1]:.3f}, complete "
        f"{cell.figures['complete']:.3f}.",
    )


def _pearson_removed(cells: Sequence[Finished]) -> Verdict:
    found = _rows(cells, least=SMALLEST)
    misses, shares = 0, []
    for cell, row in found:
        (mean, error), complete = row["loss_removed"], cell.figures["complete"]
        miss = abs(mean - complete - row["excess_diagonal"] - row["excess_shrunk"])
        misses += miss > TOLERANCE * _first_order(row) + ERRORS * error
        if row["batch"] == SMALLEST:
            shares.append((mean - complete) / (row["loss"][0] - complete))
    spread = max(row["loss_removed"][1] / row["loss"][1] for _, row in found)
    left = f"{100 * min(shares):.0f}% to {100 * max(shares):.0f}% of the excess" if shares else "part of it"
    return Verdict(
        "Unbiased loss",
        'With bias="removed" the Pearson loss loses what its off-diagonal term has from the batch and keeps what the '
        f"diagonal has, at no cost in variance (both to {100 * TOLERANCE:g}% of the excess, N >= {SMALLEST}).",
        "held" if not misses and spread < 1 + TOLERANCE else "failed",
        f"at N = {SMALLEST} {left} is left; {misses} of {len(found)} cases miss; the standard deviation is at most "
        f"{spread:.2f} times that of the loss as it is.",
    )


def _exponent(cell: Finished) -> float:
    """Slope of log |C - C^T| (root mean square) over log (N - 1)."""
    x = [math.log(row["batch"] - 1) for row in cell.figures["rows"]]
    y = [0.5 * math.log(row["asymmetry"][0]) for row in cell.figures["rows"]]
    return linear_regression(x, y).slope


def _falls(cells: Sequence[Finished]) -> Verdict:
    exponents = [_exponent(cell) for cell in cells]
    return Verdict(
        "P8",
        f"The asymmetry |C - C^T| falls as 1/sqrt(N-1) (exponent -0.5 to {SLOPE}).",
        "held" if all(abs(exponent + 0.5) < SLOPE for exponent in exponents) else "failed",
        f"the exponents are {', '.join(f'{cell.name} {_exponent(cell):.3f}' for cell in cells)}.",
    )


def _by_pair(cells: Sequence[Finished]) -> Verdict:
    found = _rows(cells, least=SMALLEST)
    ratios = [row["skew"] / row["expected_skew"] for _, row in found]
    slopes = {kind: [row["skew_slope"] for _, row in _rows(cells, kind, least=SMALLEST)] for kind in _kinds(cells)}
    held = all(abs(ratio - 1) < TOLERANCE for ratio in ratios)
    said = "; ".join(f"{kind} {min(slope):.2f} to {max(slope):.2f}" for kind, slope in slopes.items())
    return Verdict(
        "P8",
        f"It falls with invariance: E (C_ij - C_ji)^2 = 2 (1 - rho_i rho_j)/(N-1) (to {100 * TOLERANCE:g}%, "
        f"N >= {SMALLEST}).",
        "held" if held else "failed",
        f"the mean over pairs is {min(ratios):.3f} to {max(ratios):.3f} of the formula; from pair to pair it changes "
        f"by this many times what the formula says: {said}.",
    )


def _kinds(cells: Sequence[Finished]) -> list[str]:
    return list(dict.fromkeys(_kind(cell) for cell in cells))


def _floor(cell: Finished) -> Verdict:
    rows = cell.figures["rows"]
    gap = [row["found"] / row["floor"] - 1 for row in rows]
    said = "; ".join(
        f"N = {row['batch']}, D = {row['width']}, lambda {row['weight']:g}: {row['found']:.6f}, floor "
        f"{row['floor']:.6f}"
        for row in rows
    )
    return Verdict(
        "Theorem 1",
        "No embeddings of N < D + 1 samples have a loss below D lambda (D-N+1)/((N-1) + lambda (D-N+1)), and some "
        "reach it.",
        "failed" if min(gap) < -NEAR else "held" if max(gap) < NEAR else "undecided",
        f"free embeddings, optimised: {said}.",
    )


def _above_floor(cells: Sequence[Finished]) -> Verdict:
    found = [(cell, row) for cell, row in _rows(cells) if row["floor"] > 0]
    statement = "The loss of every batch is above its floor."
    if not found:
        return Verdict("Theorem 1", statement, "undecided", "no batch was smaller than D + 1.")
    cell, row = min(found, key=lambda one: one[1]["least_loss"] / one[1]["floor"])
    return Verdict(
        "Theorem 1",
        statement,
        "held" if row["least_loss"] >= row["floor"] else "failed",
        f"the nearest is {cell.name} at N = {row['batch']}: least {row['least_loss']:.3f}, floor {row['floor']:.3f}.",
    )


def _losses(cells: Sequence[Finished]) -> Table:
    rows: list[list[str | float]] = [
        [
            cell.name,
            row["batch"],
            cell.figures["complete"],
            f"{row['loss'][0]:.3f} ± {row['loss'][1]:.3f}",
            f"{cell.figures['complete'] + _first_order(row) - row['excess_shrunk']:.3f}",
            f"{cell.figures['complete'] + _first_order(row):.3f}",
            f"{row['loss_removed'][0]:.3f} ± {row['loss_removed'][1]:.3f}",
            f"{row['raw'][0]:.3f} ± {row['raw'][1]:.3f}",
            f"{row['raw_expected']:.3f}",
            f"{row['raw_removed'][0]:.3f} ± {row['raw_removed'][1]:.3f}",
        ]
        for cell, row in _rows(cells)
    ]
    head = ["", "N", "complete", "Pearson", "C16", "with shrinkage", "removed", "raw", "exact", "raw, removed"]
    reading = "Mean loss of batches with its standard error, and what the formulas say."
    return Table("The loss of batches", reading, head, rows)


def _asymmetries(cells: Sequence[Finished]) -> Table:
    rows: list[list[str | float]] = [
        [
            cell.name,
            row["batch"],
            row["batch"] * row["off_diagonal"],
            row["batch"] / (row["batch"] - 1),
            row["batch"] * row["skew"],
            row["batch"] * row["expected_skew"],
            row["skew_slope"],
            row["floor"],
            row["least_loss"],
        ]
        for cell, row in _rows(cells)
    ]
    head = ["", "N", "N E C_ij^2", "formula", "N E (C_ij - C_ji)^2", "formula", "pairs", "floor", "least loss"]
    reading = (
        "Means over all i != j. The column pairs: how the asymmetry of single pairs follows 1 - rho_i rho_j, 1 if as "
        "the formula says."
    )
    return Table("Noise and asymmetry of C", reading, head, rows)


def _loss_plot(cells: Sequence[Finished]) -> Plot:
    curves = []
    for color, cell in zip(("c1", "c2"), _first(cells), strict=False):
        x, rows, kind = [row["batch"] for row in cell.figures["rows"]], cell.figures["rows"], _kind(cell)
        complete = cell.figures["complete"]
        curves.append(Curve(kind, x, [row["loss"][0] for row in rows], color))
        curves.append(Curve(f"{kind}, formula", x, [complete + _first_order(row) for row in rows], color, dashed=True))
    reading = "Mean Pearson loss of batches, first seed; dashed: the complete loss plus the three terms."
    return Plot("Loss against batch size", reading, "batch size N", curves, log_x=True, y_name="Mean loss of batches")


def _skew_plot(cells: Sequence[Finished]) -> Plot:
    curves = []
    for color, cell in zip(("c1", "c2"), _first(cells), strict=False):
        x, rows, kind = [row["batch"] for row in cell.figures["rows"]], cell.figures["rows"], _kind(cell)
        curves.append(Curve(kind, x, [math.sqrt(row["skew"]) for row in rows], color))
        expected = [math.sqrt(row["expected_skew"]) for row in rows]
        curves.append(Curve(f"{kind}, formula", x, expected, color, dashed=True))
    reading = "Root mean square of C_ij - C_ji, first seed; dashed: sqrt of the mean 2 (1 - rho_i rho_j)/(N-1)."
    return Plot(
        "Asymmetry against batch size", reading, "batch size N", curves, log_x=True, log_y=True, y_name="C_ij - C_ji"
    )


def _first(cells: Sequence[Finished]) -> list[Finished]:
    return [next(cell for cell in cells if _kind(cell) == kind) for kind in _kinds(cells)]


def _floor_table(cell: Finished) -> Table:
    rows: list[list[str | float]] = [
        [f"N = {row['batch']}", row["width"], row["weight"], f"{row['floor']:.8f}", f"{row['found']:.8f}"]
        for row in cell.figures["rows"]
    ]
    reading = "Least Pearson loss of free embeddings found by L-BFGS from several starts, beside the formula."
    return Table("Floors", reading, ["", "D", "lambda", "floor", "found"], rows)
