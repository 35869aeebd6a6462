"""What the study of the diagonalisation concludes. A statement about every backbone fails with one counterexample."""

from collections.abc import Mapping, Sequence
from typing import Any

from barlow.report.study_page import Curve, Findings, Plot, Table, Verdict
from barlow.studies.cells import Finished

EXACT = 1e-12
"""Largest loss, asymmetry or difference that still counts as rounding: float64 keeps 1e-16 of sums of 10^4 terms, and
a condition of 10^6 loses 6 digits of C, which the loss squares."""
CLOSE = 0.01
"""As good as the identity: a loss below this share of D, the loss of z = 0. A mean |1 - C_ii| of 0.1 would give it."""
COLORS = {"resnet": "c1", "mlp": "c2", "pixels": "c3"}
KINDS = {"complete": "complete loss", "batches": "batches of 256", "whitened": "complete loss, whitened"}


def conclude(cells: Sequence[Finished]) -> Findings:
    """Return verdicts on C5, C6 and C7 with their tables and curves.

    Args:
        cells: of `diagonalization`.
    """
    return Findings(
        [
            _symmetric(cells),
            _identity(cells),
            _too_wide(cells),
            _unseen(cells),
            _span(cells),
            _reached(cells, "complete"),
            _reached(cells, "batches"),
        ],
        [_networks(cells), _closed_forms(cells), _descents(cells), _curves(cells)],
    )


def _symmetric(cells: Sequence[Finished]) -> Verdict:
    found = [cell.figures["symmetry"] for cell in cells]
    asymmetry = max(one["asymmetry"] for one in found)
    least = min(one["least_eigenvalue"] for one in found)
    difference = max(one["difference_of_forms"] for one in found)
    skew = [one["skew_with_plain_view"] for one in found]
    exact = max(asymmetry, -least, difference) < EXACT
    return Verdict(
        "C5",
        "The complete C of i.i.d. views is symmetric and positive semi-definite, whatever the network.",
        "held" if exact else "failed",
        f"summed over all pairs it is asymmetric by {asymmetry:.1e}, its least eigenvalue is {least:.1e} (both of "
        f"|C|), and it differs from the mean of ybar ybar^T by {difference:.1e}. One pipeline for both views is "
        f"needed: with an unaugmented second view {100 * min(skew):.2g}% to {100 * max(skew):.2g}% of |C| is skew.",
    )


def _identity(cells: Sequence[Finished]) -> Verdict:
    statement = "With D at most the rank of C, a linear projector makes C the identity, whatever the backbone."
    found = _closed(cells, within_rank=True)
    if not found:
        return Verdict("C6", statement, "undecided", "no width was within the rank.")
    worst = max(one["loss"] for one in found)
    return Verdict(
        "C6",
        statement,
        "held" if worst < EXACT else "failed",
        f"the largest of {len(found)} losses is {worst:.1e} (D up to {max(one['width'] for one in found)}), for "
        "untrained networks and raw pixels alike.",
    )


def _too_wide(cells: Sequence[Finished]) -> Verdict:
    statement = "A linear projector always makes C the identity: the text has no condition on D."
    found = _closed(cells, within_rank=False)
    if not found:
        return Verdict("C6", statement, "undecided", "no width was above the rank.")
    reached = [one for one in found if one["loss"] < EXACT]
    gap = max(abs(one["loss"] / one["floor"] - 1) for one in found)
    first = found[0]
    return Verdict(
        "C6",
        statement,
        "held" if len(reached) == len(found) else "failed",
        f"above the rank it does not: at D = {first['width']} the closed form reaches {first['loss']:.4g}, and no "
        f"linear projector goes below {first['floor']:.4g} (Theorem 1). The two agree to "
        f"{gap:.0e} in the worst of {len(found)} cases.",
    )


def _unseen(cells: Sequence[Finished]) -> Verdict:
    statement = f"C is then as good as the identity (loss below {100 * CLOSE:g}% of D) on other images too."
    found = _closed(cells, within_rank=True)
    if not found:
        return Verdict("C6", statement, "undecided", "no width was within the rank.")
    shares = [one["unseen"] / one["width"] for one in found]
    return Verdict(
        "C6",
        statement,
        "held" if max(shares) < CLOSE else "failed",
        f"it is so in {sum(share < CLOSE for share in shares)} of {len(shares)} cases; on as many other images the "
        f"loss is {100 * min(shares):.2g}% to {100 * max(shares):.2g}% of D.",
    )


def _span(cells: Sequence[Finished]) -> Verdict:
    random = [cell for cell in cells if cell.arguments["network"] != "pixels"]
    full = [cell.figures["rank"] == cell.figures["num_features"] for cell in random]
    said = "; ".join(
        f"{cell.name}: {cell.figures['rank']} of {cell.figures['num_features']}, condition "
        f"{cell.figures['condition']:.0f}"
        for cell in random
    )
    return Verdict(
        "C7",
        "The features of a random backbone span their whole space.",
        "held" if all(full) else "failed",
        f"rank {said}. Spanned, but unevenly.",
    )


def _reached(cells: Sequence[Finished], kind: str) -> Verdict:
    found = [one for cell in cells for one in _descents_of(cell) if one["kind"] == kind]
    control = [_above(one) for cell in cells for one in _descents_of(cell) if one["kind"] == "whitened"]
    above = [_above(one) for one in found]
    early = [_above(one, len(one["steps"]) // 2) for one in found]
    steps = found[0]["steps"]
    return Verdict(
        "C7",
        f"Gradient descent on the {'complete loss' if kind == 'complete' else 'loss of batches'} finds what a linear "
        f"projector can express (to {100 * CLOSE:g}% of D, Adam, {steps[-1]} steps, the best of "
        f"{len(found[0]['losses'])} rates).",
        "held" if max(above) < CLOSE else "failed",
        f"it does in {sum(share < CLOSE for share in above)} of {len(above)} cases: the loss is then "
        f"{100 * min(above):.2g}% to {100 * max(above):.2g}% of D above its floor, and after "
        f"{steps[len(steps) // 2]} steps {100 * min(early):.2g}% to {100 * max(early):.2g}%. On whitened features, "
        f"condition 1, the same steps come to {100 * max(control):.0e}%.",
    )


def _closed(cells: Sequence[Finished], *, within_rank: bool) -> list[Mapping[str, Any]]:
    found = [one for cell in cells for one in cell.figures["closed_form"]]
    return [one for one in found if (one["floor"] == 0) == within_rank]


def _descents_of(cell: Finished) -> list[Mapping[str, Any]]:
    return list(cell.figures["descents"])


def _above(one: Mapping[str, Any], place: int = -1) -> float:
    """What is left above the floor, in units of D."""
    return float((one["best"][place] - one["floor"]) / one["width"])


def _networks(cells: Sequence[Finished]) -> Table:
    figures = [cell.figures for cell in cells]
    rows: list[list[str | float]] = [
        [
            cell.name,
            figure["num_features"],
            figure["rank"],
            figure["condition"],
            figure["symmetry"]["asymmetry"],
            figure["symmetry"]["least_eigenvalue"],
            figure["symmetry"]["skew_with_plain_view"],
        ]
        for cell, figure in zip(cells, figures, strict=True)
    ]
    head = ["", "features d", "rank", "condition", "asymmetry", "least eigenvalue", "skew, second view plain"]
    reading = "Of the complete C of the features, not centred; eigenvalues above 1e-6 of the largest count."
    return Table("Untrained networks", reading, head, rows)


def _closed_forms(cells: Sequence[Finished]) -> Table:
    rows: list[list[str | float]] = [
        [cell.name, one["width"], one["floor"], one["loss"], one["unseen"]]
        for cell in cells
        for one in cell.figures["closed_form"]
    ]
    reading = "Complete raw loss of the closed-form projector, measured on its outputs; z = 0 has loss D."
    return Table("The closed-form projector", reading, ["", "D", "floor", "loss", "loss on other images"], rows)


def _descents(cells: Sequence[Finished]) -> Table:
    steps = cells[0].figures["descents"][0]["steps"]
    rows: list[list[str | float]] = [
        [
            cell.name,
            KINDS[one["kind"]],
            one["width"],
            1.0 if one["kind"] == "whitened" else cell.figures["condition"],
            *one["best"],
            one["rate"],
            "" if one["unseen"] is None else one["unseen"],
        ]
        for cell in cells
        for one in _descents_of(cell)
    ]
    reading = (
        "Complete loss after k steps of Adam, the best of all rates at each k; the rate is that of the best end, in "
        "units of the root mean square of the first P."
    )
    head = ["", "steps on", "D", "condition", *(f"k = {step}" for step in steps), "rate", "loss on other images"]
    return Table("What gradient descent reaches", reading, head, rows)


def _curves(cells: Sequence[Finished]) -> Plot:
    curves = []
    for cell in cells:
        if cell.arguments["seed"] != cells[0].arguments["seed"]:
            continue
        kind = cell.arguments["network"]
        width = max(one["width"] for one in _descents_of(cell))
        for one in _descents_of(cell):
            if one["width"] == width and one["kind"] != "whitened":
                batches = one["kind"] == "batches"
                name = f"{kind}, batches" if batches else kind
                curves.append(Curve(name, one["steps"], one["best"], COLORS[kind], dashed=batches))
    reading = "One seed, the largest D. The closed form is at 0, below every curve; dashed: steps on batches."
    return Plot("Loss after k steps", reading, "steps k", curves, log_x=True, log_y=True, y_name="Complete loss")
